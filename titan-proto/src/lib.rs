//! titan-proto
