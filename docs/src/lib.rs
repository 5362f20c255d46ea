//! The documents of the workspace.
