//! Loss, duplicates and reordering of numbered messages.
