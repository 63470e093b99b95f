//! Cache of the results of `classify` for batches that are still in memory.
//!
//! The optimizer's rule `push_down_leaf_projections` replaces the common call of `classify(image)['label']` and
//! `classify(image)['score']` by a call for each field ([issue 25329][issue]), and evaluates both on the same batch.
//!
//! [issue]: https://github.com/apache/datafusion/issues/25329

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::arrow::array::{Array, ArrayRef};

/// Bytes of results that are kept.
const LIMIT: usize = 16 << 20;

/// Results of calls, oldest first.
#[derive(Default)]
pub struct Memo(Mutex<VecDeque<Entry>>);

struct Entry {
    /// The argument, which identifies the batch. The weak reference reserves its address, but does not keep the images in
    /// memory.
    images: Weak<dyn Array>,
    /// The other argument.
    k: Option<usize>,
    result: ArrayRef,
}

impl Memo {
    /// Returns the result of an earlier call with the same array.
    pub fn get(&self, images: &ArrayRef, k: Option<usize>) -> Option<ArrayRef> {
        let images = Arc::downgrade(images);
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.iter().find(|entry| entry.k == k && entry.images.ptr_eq(&images))?;
        Some(entry.result.clone())
    }

    /// Keeps a result while the images are in memory, or until the results have too many bytes.
    pub fn put(&self, images: &ArrayRef, k: Option<usize>, result: ArrayRef) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.images.strong_count() > 0);
        entries.push_back(Entry { images: Arc::downgrade(images), k, result });
        let mut bytes: usize = entries.iter().map(|entry| entry.result.get_array_memory_size()).sum();
        while bytes > LIMIT
            && let Some(oldest) = entries.pop_front()
        {
            bytes -= oldest.result.get_array_memory_size();
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BinaryArray, Float32Array};

    use super::*;

    fn images() -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values([b"image"]))
    }

    fn result(values: usize) -> ArrayRef {
        Arc::new(Float32Array::from(vec![0.0; values]))
    }

    #[test]
    fn only_the_same_array_has_the_result() {
        let memo = Memo::default();
        let (one, other) = (images(), images());
        let kept = result(1);
        memo.put(&one, None, kept.clone());
        assert!(memo.get(&one, None).is_some_and(|found| Arc::ptr_eq(&found, &kept)));
        assert!(memo.get(&one, Some(1)).is_none());
        assert!(memo.get(&other, None).is_none());
    }

    #[test]
    fn results_of_dropped_arrays_are_dropped() {
        let memo = Memo::default();
        let kept = images();
        memo.put(&kept, None, result(1));
        for _ in 0..100 {
            memo.put(&images(), None, result(1));
        }
        assert!(memo.0.lock().unwrap().len() <= 2);
        assert!(memo.get(&kept, None).is_some());
    }

    #[test]
    fn results_have_a_limit() {
        let memo = Memo::default();
        let arrays: Vec<_> = (0..10).map(|_| images()).collect();
        for array in &arrays {
            memo.put(array, None, result((3 << 20) / size_of::<f32>()));
        }
        let found: Vec<_> = arrays.iter().map(|array| memo.get(array, None).is_some()).collect();
        assert_eq!(found, [vec![false; 5], vec![true; 5]].concat());
        memo.put(&arrays[0], None, result(LIMIT));
        assert!(memo.0.lock().unwrap().is_empty());
    }
}
