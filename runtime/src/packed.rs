//! Packed files: a header line and the packed block, used in place where there is no heap.
//!
//! Header, 64 bytes, little endian: magic (8), version (4), instruction set (4), identity of network and
//! plan (8), lines of the block (8), preprocessing scale and offset (24), zeros.

use core::fmt;

use crate::container::Container;
use crate::isa::{Detected, Isa, IsaError, choose};
use crate::network::{Model, NetworkInfo};
use crate::pack::{PackError, Plan};
use crate::preprocess::Preprocess;
use crate::scratch::{Line, Packed, lines, lines_mut};

const MAGIC: [u8; 8] = *b"MBVCPACK";
const VERSION: u32 = 3;
const HEADER: usize = size_of::<Line>();

/// Bytes of the packed file that `plan` makes.
pub fn packed_file_bytes(plan: &impl Plan) -> usize {
    HEADER + plan.lines() * size_of::<Line>()
}

/// Packs `weights` into `file`, which is aligned to 64 bytes, in the numerics that this processor gains from.
///
/// # Errors
/// If `isa` was not compiled in, `file` has another size or alignment, or a tensor does not fit.
pub fn pack_file<P: Plan>(
    info: &NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<P>,
    weights: &Container<'_>,
    isa: Isa,
    file: &mut [u8],
) -> Result<(), PackError> {
    let plan = plan(isa).ok_or(PackError::NotCompiled(isa))?;
    let expected = packed_file_bytes(&plan);
    if file.len() != expected {
        return Err(PackError::FileSize { expected, found: file.len() });
    }
    let preprocess = Preprocess::of(weights).map_err(PackError::Convention)?;
    let numerics = info.numerics.choose().map_err(PackError::Numerics)?;
    file.fill(0);
    let (header, block) = file.split_at_mut(HEADER);
    plan.pack(weights, &preprocess, numerics, lines_mut(block).ok_or(PackError::Alignment)?)?;
    let words = [VERSION, isa as u32].map(u32::to_le_bytes);
    let longs = [identity(info, &plan), plan.lines() as u64].map(u64::to_le_bytes);
    let floats = [preprocess.scale, preprocess.offset].map(|triple| triple.map(f32::to_le_bytes));
    let bytes = MAGIC.iter().chain(words.as_flattened()).chain(longs.as_flattened());
    for (to, from) in header.iter_mut().zip(bytes.chain(floats.as_flattened().as_flattened())) {
        *to = *from;
    }
    Ok(())
}

/// A model that uses `file` in place.
///
/// # Errors
/// If the file is not aligned to 64 bytes, or was packed for another network, instruction set or version.
pub fn from_packed<P: Plan>(
    info: &'static NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<P>,
    file: &'static [u8],
) -> Result<Model, PackedError> {
    let header = file.get(..HEADER).ok_or(PackedError::NotPacked)?;
    let mut at = 0;
    if take::<8>(header, &mut at) != MAGIC {
        return Err(PackedError::NotPacked);
    }
    let version = u32::from_le_bytes(take(header, &mut at));
    if version != VERSION {
        return Err(PackedError::Version(version));
    }
    let isa = u32::from_le_bytes(take(header, &mut at));
    let isa = Isa::ALL.into_iter().find(|known| *known as u32 == isa).ok_or(PackedError::NotPacked)?;
    let detected: Detected = choose(info.isas, Some(isa)).map_err(PackedError::Isa)?;
    let plan = plan(isa).ok_or(PackedError::Isa(IsaError::NoneCompiled { compiled: info.isas }))?;
    let id = u64::from_le_bytes(take(header, &mut at));
    let found_lines = u64::from_le_bytes(take(header, &mut at));
    if id != identity(info, &plan) || found_lines != plan.lines() as u64 {
        return Err(PackedError::OtherNetwork);
    }
    let block = lines(&file[HEADER..]).ok_or(PackedError::Alignment)?;
    if block.len() != plan.lines() {
        return Err(PackedError::Cut);
    }
    let mut triple = || core::array::from_fn(|_| f32::from_le_bytes(take(header, &mut at)));
    let preprocess = Preprocess { scale: triple(), offset: triple() };
    Ok(Model {
        packed: Packed::Borrowed(block),
        isa: detected,
        preprocess,
        #[cfg(feature = "alloc")]
        about: Default::default(),
    })
}

fn take<const N: usize>(header: &[u8], at: &mut usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[*at..*at + N]);
    *at += N;
    bytes
}

/// A hash (FNV-1a, 64 bits) of names, shapes, conventions and the plan: what a packed block depends on. Numbers count
/// as 64 bits on every target, since a file is packed on one and used on another.
fn identity(info: &NetworkInfo, plan: &impl Plan) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let conventions = info.conventions;
    for word in [conventions.activation.word(), conventions.padding.word(), conventions.precision.word()] {
        add(word.as_bytes());
        add(&[0]);
    }
    for parameter in info.parameters {
        add(parameter.name.as_bytes());
        parameter.shape.iter().for_each(|dim| add(&(*dim as u64).to_le_bytes()));
    }
    plan.identify(&mut add);
    hash
}

/// Why a packed file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackedError {
    NotPacked,
    Version(u32),
    Isa(IsaError),
    OtherNetwork,
    Alignment,
    Cut,
}

impl fmt::Display for PackedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPacked => f.write_str("these are no packed weights; make them with the network's `pack`"),
            Self::Version(version) => {
                write!(f, "packed weights of version {version}, this runtime reads {VERSION}; pack them again")
            }
            Self::Isa(error) => write!(f, "packed for another instruction set: {error}"),
            Self::OtherNetwork => f.write_str("packed for another network or by another compiler; pack them again"),
            Self::Alignment => f.write_str("packed weights must lie at an address that is a multiple of 64"),
            Self::Cut => f.write_str("the packed weights are cut short; copy or pack them again"),
        }
    }
}

impl core::error::Error for PackedError {}
