//! What all views have in common.

/// The methods every view has: its bytes, and what it was made of.
macro_rules! view {
    ($name:ident) => {
        impl<T: AsRef<[u8]>> $name<T> {
            /// All the bytes the view was made of, also those behind the packet's end.
            #[inline]
            pub fn bytes(&self) -> &[u8] {
                self.buffer.as_ref()
            }

            /// Gives back what the view was made of.
            #[inline]
            pub fn into_inner(self) -> T {
                self.buffer
            }

            /// A view without any check: getters read zeros where bytes are missing, and slices come out cut.
            #[inline]
            pub const fn unchecked(buffer: T) -> Self {
                Self { buffer }
            }
        }
    };
}

pub(crate) use view;
