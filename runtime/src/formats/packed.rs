//! Packed files: a header line, the packed block, and text about pictures and classes. A packed file is used in place.
//!
//! Header, 64 bytes, little endian: magic (8), version (4), instruction set (4), identity of network and plan (8),
//! number of lines in the block (8), preprocessing scale and offset (24), bytes of the text (4), checksum of all other
//! bytes (4). The text follows the block, padded with zeros to a whole line. It has the network's name, the framing of
//! pictures, the activation of the head, and the names of the classes, one per line. Only targets with a heap read it.

use core::fmt;

use super::checksum::Checksum;
use super::magic;
use crate::conventions::{Activation, ConventionError, Conventions, HeadActivation};
use crate::float::pack::{PackError, Plan};
use crate::formats::container::{Container, Header};
use crate::formats::json::JsonStr;
use crate::formats::metadata::size_multiple;
use crate::isa::{Detected, Isa, IsaError, choose};
use crate::network::{BaseModel, Needs, NetworkInfo};
use crate::numerics::Numerics;
use crate::preprocess::Preprocess;
use crate::scratch::{Line, Packed, lines, lines_mut};

const VERSION: u32 = 7;
const LINE: usize = size_of::<Line>();
/// Offset of the checksum, the last four bytes of the header.
const CHECKSUM: usize = LINE - 4;
/// Framing of containers without `mbvc.framing`, equal to the default of `Framing`.
const FRAMING: &str = "squash bilinear";

/// Parameters of packing.
pub struct Packing<'a> {
    /// Name of the network, for `mbvc inspect`.
    pub network: &'a str,
    /// Requirements that the weights are checked against. They are part of the file's identity.
    pub needs: Needs<'a>,
    /// Layout of the packed block for `isa`.
    pub plan: &'a dyn Plan,
    /// Instruction set of the kernels that read the file.
    pub isa: Isa,
    /// Numerics of these kernels, if the network has a choice.
    pub numerics: Numerics,
}

impl<'a> Packing<'a> {
    /// Returns the bytes of the file.
    pub fn file_bytes(&self, weights: &Container<'_>) -> usize {
        file_bytes(self.plan.lines(), Text::new(self.network, weights).bytes())
    }

    /// Packs `weights` into `file`, which must be aligned to 64 bytes.
    ///
    /// # Errors
    /// If `file` has another size or alignment, or a convention or a tensor does not match.
    pub fn pack(&self, weights: &Container<'_>, file: &mut [u8]) -> Result<(), PackError<'a>> {
        let (plan, text) = (self.plan, Text::new(self.network, weights));
        let expected = file_bytes(plan.lines(), text.bytes());
        if file.len() != expected {
            return Err(PackError::FileSize { expected, found: file.len() });
        }
        let text_bytes = u32::try_from(text.bytes()).map_err(|_| PackError::Text)?;
        self.check(weights.header())?;
        let preprocess = Preprocess::of(weights.header()).map_err(PackError::Convention)?;
        self.needs.check_finite(weights)?;
        file.fill(0);
        let (header, rest) = file.split_at_mut(LINE);
        let (block, end) = rest.split_at_mut(plan.lines() * LINE);
        plan.pack(weights, &preprocess, self.numerics, lines_mut(block).ok_or(PackError::Alignment)?)?;
        text.write(end)?;
        let header_of = PackedHeader {
            isa: self.isa,
            identity: identity(&self.needs, plan),
            lines: plan.lines() as u64,
            preprocess,
            text_bytes,
            checksum: 0,
        };
        header_of.write(header);
        let sum = checksum(file).to_le_bytes();
        file[CHECKSUM..LINE].copy_from_slice(&sum);
        Ok(())
    }

    /// Checks that the conventions of the weights match the network. Tensors are checked when they are packed.
    fn check(&self, weights: &Header<'_>) -> Result<(), PackError<'static>> {
        let theirs = Conventions::of(weights).map_err(PackError::Convention)?;
        let multiple = size_multiple(weights).map_err(PackError::Convention)?;
        let Needs { conventions: ours, resolution, .. } = self.needs;
        if resolution.iter().any(|size| !size.is_multiple_of(multiple)) {
            return Err(PackError::Resolution { multiple, found: resolution });
        }
        let [activation, dense, padding, precision] = ["activation", "dense_activation", "padding", "precision"];
        let word = |activation: Option<Activation>| activation.map_or("none", Activation::word);
        for (field, expected, found) in [
            (activation, ours.activation.word(), theirs.activation.word()),
            (dense, word(ours.dense_activation), word(theirs.dense_activation)),
            (padding, ours.padding.word(), theirs.padding.word()),
            (precision, ours.precision.of_weights().word(), theirs.precision.word()),
        ] {
            if expected != found {
                return Err(PackError::Differs { field, expected, found });
            }
        }
        Ok(())
    }
}

/// Returns the bytes of a packed file with a block of `lines` lines and `text` bytes of text.
fn file_bytes(lines: usize, text: usize) -> usize {
    LINE + lines * LINE + text.next_multiple_of(LINE)
}

/// Returns the checksum of a packed file, at least as long as its header, without the bytes that hold the checksum.
fn checksum(file: &[u8]) -> u32 {
    Checksum::new().add(&file[..CHECKSUM]).add(&file[LINE..]).finish()
}

/// Text after the block.
struct Text<'a> {
    network: &'a str,
    framing: Option<JsonStr<'a>>,
    activation: Result<HeadActivation, ConventionError>,
    labels: Option<JsonStr<'a>>,
}

impl<'a> Text<'a> {
    fn new(network: &'a str, weights: &Container<'a>) -> Self {
        let header = weights.header();
        let logits = Conventions::of(header).map(|conventions| conventions.classes);
        Self {
            network,
            framing: weights.metadata("mbvc.framing"),
            activation: logits.and_then(|logits| HeadActivation::of(header, logits)),
            labels: weights.metadata("mbvc.labels"),
        }
    }

    /// Returns the characters of the text. Invalid metadata, which `write` rejects, is replaced by defaults.
    fn chars(&self) -> impl Iterator<Item = char> {
        let framing = self.framing.and_then(|text| text.as_plain()).unwrap_or(FRAMING);
        let activation = self.activation.unwrap_or(HeadActivation::None).word();
        let labels = self.labels.iter().flat_map(|labels| labels.chars());
        let lines = [self.network, framing, activation].into_iter();
        lines.flat_map(|line| line.chars().chain(['\n'])).chain(labels)
    }

    fn bytes(&self) -> usize {
        self.chars().map(char::len_utf8).sum()
    }

    fn write(&self, mut to: &mut [u8]) -> Result<(), PackError<'static>> {
        if self.framing.is_some_and(|text| text.as_plain().is_none()) {
            let expected = "a framing";
            return Err(PackError::Convention(ConventionError::Value { key: "mbvc.framing", expected }));
        }
        self.activation.map_err(PackError::Convention)?;
        for next in self.chars() {
            let (bytes, rest) = to.split_at_mut_checked(next.len_utf8()).ok_or(PackError::Text)?;
            next.encode_utf8(bytes);
            to = rest;
        }
        Ok(())
    }
}

/// First line of a packed file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PackedHeader {
    /// Instruction set of the kernels that read the block.
    pub isa: Isa,
    /// Hash of everything that a packed block depends on, except the values of the weights.
    pub identity: u64,
    /// Number of 64-byte lines in the block.
    pub lines: u64,
    /// Conversion of pixels to the network's input.
    pub preprocess: Preprocess,
    /// Bytes of the text after the block.
    pub text_bytes: u32,
    /// Checksum of all bytes except the checksum itself.
    pub checksum: u32,
}

impl PackedHeader {
    /// Bytes of the header.
    pub const BYTES: usize = LINE;
    /// The version of packed files that this crate reads and writes.
    pub const VERSION: u32 = VERSION;

    /// Whether a file starts with the magic of packed files.
    pub fn is_in(file: &[u8]) -> bool {
        magic::is_packed(file)
    }

    /// Reads the header from the first bytes of a file.
    ///
    /// # Errors
    /// If the file is not a packed file, or has another version.
    pub fn parse(file: &[u8]) -> Result<Self, PackedError> {
        if !Self::is_in(file) {
            return Err(PackedError::NotPacked);
        }
        let header: &[u8; LINE] = file.first_chunk().ok_or(PackedError::Length)?;
        let mut at = magic::PACKED.len();
        let version = u32::from_le_bytes(take(header, &mut at));
        if version != VERSION {
            return Err(PackedError::Version(version));
        }
        let isa = u32::from_le_bytes(take(header, &mut at));
        let isa = Isa::ALL.into_iter().find(|known| *known as u32 == isa).ok_or(PackedError::Damaged)?;
        let [identity, lines] = core::array::from_fn(|_| u64::from_le_bytes(take(header, &mut at)));
        let mut triple = || core::array::from_fn(|_| f32::from_le_bytes(take(header, &mut at)));
        let preprocess = Preprocess { scale: triple(), offset: triple() };
        let [text_bytes, checksum] = core::array::from_fn(|_| u32::from_le_bytes(take(header, &mut at)));
        Ok(Self { isa, identity, lines, preprocess, text_bytes, checksum })
    }

    fn write(&self, to: &mut [u8]) {
        let words = [VERSION, self.isa as u32].map(u32::to_le_bytes);
        let longs = [self.identity, self.lines].map(u64::to_le_bytes);
        let floats = [self.preprocess.scale, self.preprocess.offset].map(|triple| triple.map(f32::to_le_bytes));
        let bytes = magic::PACKED.iter().chain(words.as_flattened()).chain(longs.as_flattened());
        let bytes = bytes.chain(floats.as_flattened().as_flattened());
        for (to, from) in to.iter_mut().zip(bytes.chain(&self.text_bytes.to_le_bytes())) {
            *to = *from;
        }
    }

    /// Checks that the file was packed by `plan` for a network with these `needs`, and has the expected length.
    ///
    /// # Errors
    /// If the file was packed for another network, or is longer or shorter than expected.
    pub fn check(&self, needs: &Needs<'_>, plan: &(impl Plan + ?Sized), file_bytes: usize) -> Result<(), PackedError> {
        if self.identity != identity(needs, plan) || self.lines != plan.lines() as u64 {
            return Err(PackedError::OtherNetwork);
        }
        self.check_length(file_bytes)
    }

    /// Checks that a file with this header has the expected length.
    ///
    /// # Errors
    /// If it is longer or shorter.
    pub fn check_length(&self, file_bytes: usize) -> Result<(), PackedError> {
        let text = u64::from(self.text_bytes).next_multiple_of(LINE as u64);
        let rest = self.lines.checked_add(1).and_then(|lines| lines.checked_mul(LINE as u64));
        match rest.and_then(|lines| lines.checked_add(text)) == Some(file_bytes as u64) {
            true => Ok(()),
            false => Err(PackedError::Length),
        }
    }

    /// Verifies the checksum of the whole file, which must have the expected length.
    ///
    /// # Errors
    /// If the file was damaged after it was packed.
    pub fn check_sum(&self, file: &[u8]) -> Result<(), PackedError> {
        if file.len() < LINE {
            return Err(PackedError::Length);
        }
        if checksum(file) == self.checksum { Ok(()) } else { Err(PackedError::Damaged) }
    }

    /// Returns the text after the block of a file with this header and the expected length.
    ///
    /// # Errors
    /// If the text is malformed.
    pub fn text<'a>(&self, file: &'a [u8]) -> Result<PackedText<'a>, PackedError> {
        let start = usize::try_from(self.lines).ok().and_then(|lines| lines.checked_add(1)?.checked_mul(LINE));
        let text = start.and_then(|start| file.get(start..)?.get(..self.text_bytes as usize));
        let text = text.and_then(|text| core::str::from_utf8(text).ok());
        PackedText::parse(text.ok_or(PackedError::Text)?)
    }
}

/// Text of a packed file: its network, framing and classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedText<'a> {
    /// The network's name.
    pub network: &'a str,
    /// Framing, in the syntax that `Framing` parses.
    pub framing: &'a str,
    /// Function from logits to the scores of the classes.
    pub head_activation: HeadActivation,
    /// Names of the classes, one per line. Empty if the weights have none.
    pub labels: &'a str,
}

impl<'a> PackedText<'a> {
    /// Parses the text after the block.
    ///
    /// # Errors
    /// If there are fewer than three lines before the names of the classes, or the activation is unknown.
    pub fn parse(text: &'a str) -> Result<Self, PackedError> {
        let mut parts = text.splitn(4, '\n');
        let mut part = || parts.next().ok_or(PackedError::Text);
        let (network, framing, activation, labels) = (part()?, part()?, part()?, part()?);
        let head_activation = HeadActivation::from_word(activation).ok_or(PackedError::Text)?;
        Ok(Self { network, framing, head_activation, labels })
    }
}

#[cfg(feature = "alloc")]
impl PackedText<'_> {
    /// Returns the metadata that a model needs to classify pictures of any size.
    fn metadata(&self) -> Result<crate::picture::ClassifierMetadata, PackedError> {
        let framing = crate::picture::Framing::parse(self.framing).map_err(|_| PackedError::Text)?;
        Ok(crate::picture::ClassifierMetadata {
            head_activation: self.head_activation,
            labels: self.labels.lines().map(Into::into).collect(),
            framing,
        })
    }
}

fn take<const N: usize>(header: &[u8; LINE], at: &mut usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[*at..*at + N]);
    *at += N;
    bytes
}

/// Returns the parameters of packing for a generated network: its plan for `isa`, in the numerics that are faster on
/// this processor.
fn packing<P: Plan + 'static>(
    info: &'static NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<&'static P>,
    isa: Isa,
) -> Result<Packing<'static>, PackError<'static>> {
    let plan = plan(isa).ok_or(PackError::NotCompiled(isa))?;
    let numerics = info.numerics.choose().map_err(PackError::Numerics)?;
    Ok(Packing { network: info.name, needs: info.needs(), plan, isa, numerics })
}

/// Returns the bytes of the packed file of `weights`, or `None` if the network was not compiled for `isa`.
pub fn packed_file_bytes<P: Plan + 'static>(
    info: &NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<&'static P>,
    weights: &Container<'_>,
    isa: Isa,
) -> Option<usize> {
    let text = Text::new(info.name, weights);
    Some(file_bytes(plan(isa)?.lines(), text.bytes()))
}

/// Packs `weights` into `file`, which must be aligned to 64 bytes, in the numerics that are faster on this processor.
///
/// # Errors
/// If `isa` was not compiled in, `file` has another size or alignment, or a convention or a tensor does not match.
pub fn pack_file<P: Plan + 'static>(
    info: &'static NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<&'static P>,
    weights: &Container<'_>,
    isa: Isa,
    file: &mut [u8],
) -> Result<(), PackError<'static>> {
    packing(info, plan, isa)?.pack(weights, file)
}

/// Calls `pack` on `bytes` zeroed bytes, aligned to 64, and returns a copy of them.
///
/// # Errors
/// If `pack` fails.
#[cfg(feature = "alloc")]
pub fn packed_in_memory<E>(
    bytes: usize,
    pack: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<alloc::vec::Vec<u8>, E> {
    let mut lines = crate::scratch::Pages::zeroed(bytes.div_ceil(LINE));
    let file = &mut crate::scratch::bytes_mut(&mut lines)[..bytes];
    pack(file)?;
    Ok(file.to_vec())
}

/// Returns a model that uses `file` in place.
///
/// # Errors
/// If the file is damaged, is not aligned to 64 bytes, or was packed for another network, instruction set or version.
pub fn from_packed<P: Plan + 'static>(
    info: &'static NetworkInfo,
    plan: impl Fn(Isa) -> Option<&'static P>,
    file: &'static [u8],
) -> Result<BaseModel, PackedError> {
    let header = PackedHeader::parse(file)?;
    let isa: Detected = choose(info.isas, Some(reader(info, &plan, &header))).map_err(PackedError::Isa)?;
    let plan = plan(isa.isa()).ok_or(PackedError::Isa(IsaError::NoneCompiled { compiled: info.isas }))?;
    header.check(&info.needs(), plan, file.len())?;
    header.check_sum(file)?;
    if info.input[2] == 1 && !header.preprocess.is_gray() {
        return Err(PackedError::Damaged);
    }
    let block = file.get(LINE..).and_then(|rest| rest.get(..plan.lines() * LINE)).ok_or(PackedError::Length)?;
    let block = lines(block).ok_or(PackedError::Alignment)?;
    if !plan.is_sound(block) {
        return Err(PackedError::Damaged);
    }
    Ok(BaseModel {
        packed: Packed::Borrowed(block),
        isa,
        preprocess: header.preprocess,
        #[cfg(feature = "alloc")]
        metadata: alloc::sync::Arc::new(header.text(file)?.metadata()?),
    })
}

/// Returns the instruction set whose kernels read a file: the one that it was packed for, or, if the network was not
/// compiled for that, another one for which the same bytes would have been packed.
fn reader<P: Plan + 'static>(
    info: &NetworkInfo,
    plan: impl Fn(Isa) -> Option<&'static P>,
    header: &PackedHeader,
) -> Isa {
    let is_same = |isa: &Isa| plan(*isa).is_some_and(|plan| identity(&info.needs(), plan) == header.identity);
    match info.isas.contains(&header.isa) {
        true => header.isa,
        false => info.isas.iter().copied().rfind(is_same).unwrap_or(header.isa),
    }
}

/// Returns a hash (FNV-1a, 64 bits) of names, shapes, conventions, the resolution, which the weights may restrict, and the
/// plan, on which a packed block depends.
/// Numbers are hashed as 64 bits on every target, since a file is packed on one target and used on another. Generic, so
/// that a program that packs nothing contains no code that packs.
fn identity(needs: &Needs<'_>, plan: &(impl Plan + ?Sized)) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let Conventions { activation, dense_activation, padding, precision, .. } = needs.conventions;
    for word in [activation.word(), padding.word(), precision.word()] {
        add(word.as_bytes());
        add(&[0]);
    }
    if let Some(activation) = dense_activation {
        add(activation.word().as_bytes());
        add(&[0]);
    }
    needs.resolution.iter().for_each(|size| add(&(*size as u64).to_le_bytes()));
    for parameter in needs.parameters {
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
    /// The bytes do not start with the magic of packed files.
    NotPacked,
    /// The file has this version instead of [`PackedHeader::VERSION`].
    Version(u32),
    /// The file was packed for an instruction set that the network or this processor does not have.
    Isa(IsaError),
    /// The file was packed for another network, with other options, or by another compiler version.
    OtherNetwork,
    /// The file is not aligned to 64 bytes.
    Alignment,
    /// The file is longer or shorter than its header requires.
    Length,
    /// The checksum does not match, or the file has numbers that packing never writes.
    Damaged,
    /// The text after the block is malformed.
    Text,
}

impl fmt::Display for PackedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPacked => f.write_str("not packed weights; create them with `mbvc pack`"),
            Self::Version(version) => {
                write!(f, "packed weights of version {version}, expected version {VERSION}; pack them again")
            }
            Self::Isa(IsaError::Absent(isa)) => write!(
                f,
                "the weights are packed for {isa}, which this processor does not support; pack them for a supported instruction set"
            ),
            Self::Isa(error) => write!(f, "the packed weights cannot be used: {error}"),
            Self::OtherNetwork => f.write_str(
                "the packed weights do not match the network, its options (fusion, threads, batch, resolution) or this \
                 version of mbvc; pack the weights again",
            ),
            Self::Alignment => f.write_str("packed weights must be aligned to 64 bytes"),
            Self::Length => {
                f.write_str("the length of the packed weights does not match their header; copy or pack them again")
            }
            Self::Damaged | Self::Text => f.write_str("the packed weights are damaged; copy or pack them again"),
        }
    }
}

impl core::error::Error for PackedError {}
