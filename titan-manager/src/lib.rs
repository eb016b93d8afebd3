//! titan-manager
