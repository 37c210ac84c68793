//! Real processes. What they share is here.
