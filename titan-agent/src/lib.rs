//! titan-agent
