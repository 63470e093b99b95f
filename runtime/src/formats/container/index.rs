//! Index of a container's tensors, for look-ups that do not scan the whole header.

#[cfg(feature = "alloc")]
use crate::formats::json::JsonStr;

/// Hash of a tensor's name, and the name's offset in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    hash: u32,
    at: u32,
}

/// Tensors of a container by the hashes of their names.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone)]
pub(crate) struct Index(alloc::vec::Vec<Slot>);

#[cfg(feature = "alloc")]
impl Index {
    /// Returns the index of tensors with these names and offsets in the header.
    pub(super) fn new<'a>(tensors: impl Iterator<Item = (JsonStr<'a>, usize)>) -> Self {
        // Headers are at most `MAX_HEADER_BYTES` long.
        let slot = |(name, at): (JsonStr<'_>, usize)| Slot { hash: hash(name.chars()), at: at as u32 };
        let mut slots: alloc::vec::Vec<Slot> = tensors.map(slot).collect();
        slots.sort_unstable();
        Self(slots)
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.0
    }
}

/// Returns the offsets of tensors whose name has the hash of `name`.
pub(super) fn places(slots: &[Slot], name: &str) -> impl Iterator<Item = usize> {
    let hash = hash(name.chars());
    let first = slots.partition_point(|slot| slot.hash < hash);
    slots[first..].iter().take_while(move |slot| slot.hash == hash).map(|slot| slot.at as usize)
}

/// FNV-1a over characters.
fn hash(name: impl Iterator<Item = char>) -> u32 {
    name.fold(0x811c_9dc5, |hash, next| (hash ^ u32::from(next)).wrapping_mul(0x0100_0193))
}
