//! Memory with a stable address that is allocated once and read by the kernel through raw pointers.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A boxed slice whose elements other storages may point into.
///
/// A `Box` asserts that nothing else points to its contents whenever it moves; message headers do point to buffers
/// that move with them. So the allocation is held by pointer, and every pointer handed out comes from that one.
pub(crate) struct Storage<T> {
    first: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its elements like a `Box<[T]>`. The raw pointers inside headers and I/O vectors lead only into
// sibling storages of the same owner, which move to the other thread together, or are rewritten before each use.
unsafe impl<T> Send for Storage<T> {}
// SAFETY: shared access only reads, and nothing inside has interior mutability.
unsafe impl<T> Sync for Storage<T> {}

impl<T: Copy> Storage<T> {
    /// `len` copies of `value`.
    pub(crate) fn new(value: T, len: usize) -> Self {
        Self::from_vec(vec![value; len])
    }

    fn from_vec(elements: Vec<T>) -> Self {
        let len = elements.len();
        let raw: *mut T = Box::into_raw(elements.into_boxed_slice()).cast();
        // A box is never null; `dangling` is for the compiler only.
        let first = NonNull::new(raw).unwrap_or(NonNull::dangling());
        Self { first, len }
    }
}

impl Storage<u8> {
    /// `len` zero bytes, which cost no page until they are touched.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self::from_vec(vec![0; len])
    }
}

impl<T> Storage<T> {
    /// Pointer to the first element, valid for reads and writes of all of them until drop.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.first.as_ptr()
    }

    /// Pointer to the element `index`, which stays valid until drop; past the end, to one past the last.
    #[inline]
    pub(crate) fn ptr_at(&self, index: usize) -> *mut T {
        // SAFETY: the offset is at most `len`, so the result is inside the allocation or one past its end.
        unsafe { self.first.as_ptr().add(index.min(self.len)) }
    }
}

impl<T> Deref for Storage<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `first` and `len` came from one boxed slice, initialised, and are freed only in `drop`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Storage<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` is the only access.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Storage<T> {
    fn drop(&mut self) {
        let slice = std::ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.len);
        // SAFETY: the pointer came from `Box::into_raw` of a slice of this length and is given back once.
        drop(unsafe { Box::from_raw(slice) });
    }
}

impl<T> fmt::Debug for Storage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({} x {} B)", self.len, size_of::<T>())
    }
}
