//! The documents of the workspace, compiled: every Rust example in them is a doctest of this package.
//!
//! Nothing is exported. `cargo xtask doc` runs the examples; `cargo test --package sockeye-docs` does too.

#![forbid(unsafe_code)]

/// A module a document, so that a failing example names the document it stands in.
macro_rules! documents {
    ($($name:ident: $path:literal;)*) => {
        $(
            #[doc = include_str!($path)]
            mod $name {}
        )*
    };
}

documents! {
    readme: "../../README.md";
    crates: "../../crates/README.md";
    architecture: "../ARCHITECTURE.md";
    style: "../STYLE.md";
    testing: "../TESTING.md";
    reliability: "../RELIABILITY.md";
    security: "../../SECURITY.md";
    benchmarking: "../BENCHMARKING.md";
}
