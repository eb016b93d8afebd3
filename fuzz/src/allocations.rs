//! What a thread allocates: the system's allocator, with a count for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Bytes that the thread has allocated and not freed, since it was asked last; those of others that it freed count below 0.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    now_bytes: isize,
    peak_bytes: isize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { now_bytes: 0, peak_bytes: 0 }) };
}

/// The most that the thread has allocated at once while this ran, in bytes.
pub fn peak_of(run: impl FnOnce()) -> usize {
    COUNT.set(Count::default());
    run();
    COUNT.get().peak_bytes.unsigned_abs()
}

fn note(bytes: isize) {
    let Count { now_bytes, peak_bytes } = COUNT.get();
    let now_bytes = now_bytes.saturating_add(bytes);
    COUNT.set(Count { now_bytes, peak_bytes: peak_bytes.max(now_bytes) });
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: each call goes to the system's allocator as it came; the count allocates nothing and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both are there for a moment.
        note(new_size.cast_signed());
        note(layout.size().cast_signed().saturating_neg());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(layout.size().cast_signed().saturating_neg());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_what_was_there_at_once() {
        let peak = peak_of(|| {
            for _ in 0..10 {
                drop(std::hint::black_box(vec![0_u8; 1_000]));
            }
            let _two = std::hint::black_box((vec![0_u8; 1_000], vec![0_u8; 500]));
        });
        assert_eq!(peak, 1_500);
        assert_eq!(peak_of(|| ()), 0);
    }
}
