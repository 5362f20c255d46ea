//! The book: its transcripts are run and compared, and what a chapter points at exists. docs/book/README.md says how a chapter is written.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod chapter;
mod checks;
mod compare;
mod scene;

use chapter::Chapter;

/// The chapters, each with the test that runs it.
macro_rules! chapters {
    ($($test:ident: $name:literal;)*) => {
        /// The names of the files, without their ending.
        const CHAPTERS: &[&str] = &[$($name),*];

        $(
            #[test]
            fn $test() {
                scene::run(&Chapter::read($name));
            }
        )*
    };
}

chapters! {
    chapter_00: "index";
    chapter_01: "01-picture";
    chapter_02: "02-socket";
    chapter_03: "03-endpoint";
    chapter_04: "04-datagram";
    chapter_05: "05-stream";
    chapter_06: "06-loop";
    chapter_07: "07-raw";
    chapter_08: "08-transports";
    chapter_09: "09-many";
    chapter_10: "10-measuring";
    chapter_11: "11-breaking";
    cookbook_programs: "cookbook-programs";
    cookbook_code: "cookbook-code";
}
