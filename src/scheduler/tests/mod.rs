//! Tables and pairs.
