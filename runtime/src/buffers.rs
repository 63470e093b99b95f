//! The memory of one call, as generated code passes it to the kernels of an instruction set.

use core::marker::PhantomData;

use crate::simd::{Area, Src};

/// The result that a call computes, and the memory `V` that it is written to.
#[derive(Debug, Clone, Copy)]
pub enum Output<V> {
    /// The logits of one image, one per class.
    Logits(V),
    /// What the step with this index computes. Only the last step writes the logits.
    Step(usize, V),
    /// The pooled vector.
    Embedding(V),
    /// The pooled vector, kept in the scratch as that of the image with this index in a batch.
    Feature(usize),
    /// The logits of all images of a batch, from the vectors that [`Feature`](Self::Feature) kept. No image is read.
    Batch(V),
}

impl<V> Output<V> {
    fn map<W>(self, convert: impl FnOnce(V) -> W) -> Output<W> {
        match self {
            Self::Logits(memory) => Output::Logits(convert(memory)),
            Self::Step(index, memory) => Output::Step(index, convert(memory)),
            Self::Embedding(memory) => Output::Embedding(convert(memory)),
            Self::Feature(image) => Output::Feature(image),
            Self::Batch(memory) => Output::Batch(convert(memory)),
        }
    }
}

/// Packed weights, scratch and output of one call, which the threads of a team share.
#[derive(Debug, Clone, Copy)]
pub struct Buffers<'a, T> {
    weights: &'a [T],
    scratch: *mut [T],
    output: Output<*mut [T]>,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: the buffers are a shared and two exclusive slices of numbers, which may be sent to another thread; safe code
// cannot access the numbers, and `views` requires that the threads that share them do not race.
unsafe impl<T: Send + Sync> Send for Buffers<'_, T> {}
// SAFETY: as above; buffers have no state besides the numbers.
unsafe impl<T: Send + Sync> Sync for Buffers<'_, T> {}

impl<'a, T: Copy + Default> Buffers<'a, T> {
    /// Borrows the memory of a call.
    #[inline]
    pub fn new(weights: &'a [T], scratch: &'a mut [T], output: Output<&'a mut [T]>) -> Self {
        Self { weights, scratch, output: output.map(|slice| &raw mut *slice), life: PhantomData }
    }

    /// Views of weights, scratch and output, whose bounds release builds do not check.
    ///
    /// Generated code calls this once per instruction set, on entry to its kernels.
    ///
    /// # Safety
    /// The contracts of [`Src::new`] and `Area::from_raw` must hold for everything that is done with the views: each access
    /// stays within the buffer, and between two barriers no thread accesses a number that another thread writes.
    #[inline(always)]
    pub unsafe fn views(self) -> (Src<'a, T>, Area<'a, T>, Output<Area<'a, T>>) {
        // SAFETY: the caller guarantees what `Src::new` and `Area::from_raw` require; `new` borrowed the memory for `'a`.
        unsafe {
            let share = |slice| Area::from_raw(slice);
            (Src::new(self.weights), share(self.scratch), self.output.map(share))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_memory_of_a_call() {
        let (weights, mut scratch, mut logits) = ([1.0, 2.0], [0.0; 2], [0.0; 2]);
        let buffers = Buffers::new(&weights, &mut scratch, Output::Logits(&mut logits));
        for at in 0..2 {
            // SAFETY: all offsets are below 2; there is one thread.
            let (w, scratch, output) = unsafe { buffers.views() };
            let Output::Logits(logits) = output else { panic!("the output has another kind") };
            scratch.write(at..at + 1, |to| to.fill(w.get(at) + 1.0));
            logits.at(at).copy(scratch.at(at), 1);
        }
        assert_eq!(logits, [2.0, 3.0]);
    }
}
