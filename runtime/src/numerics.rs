//! How products are summed, and the processors that gain from the fast inner product.

use core::fmt;

/// How convolutions sum their products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numerics {
    /// One fused multiply-add per product: the same bits on every instruction set that has FMA.
    Strict,
    /// The fast inner product in layers whose values allow it; see [`crate::PackLayer`].
    Fast,
}

impl Numerics {
    /// Both, in the order of the enum.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Fast];

    /// The name in specs, in arguments of the command and in `MBVC_NUMERICS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Fast => "fast",
        }
    }

    /// The numerics with this [`name`](Self::name), if there are any.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|numerics| numerics.name() == name)
    }

    /// Returns the numerics for which a network that was compiled for `self` packs its weights.
    ///
    /// A strict network is strict. A fast one follows `MBVC_NUMERICS` (with `std`); if that is unset, it is fast on the
    /// processor families that gain from it. The choice never depends on timing: a machine always gives the same bits.
    ///
    /// # Errors
    /// If `MBVC_NUMERICS` has an unknown value.
    pub fn choose(self) -> Result<Self, NumericsError> {
        let requested = from_environment()?;
        Ok(match (self, requested) {
            (Self::Strict, _) => Self::Strict,
            (Self::Fast, Some(requested)) => requested,
            (Self::Fast, None) if gains() => Self::Fast,
            (Self::Fast, None) => Self::Strict,
        })
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "std")]
fn from_environment() -> Result<Option<Numerics>, NumericsError> {
    match std::env::var("MBVC_NUMERICS") {
        Ok(name) if name.is_empty() => Ok(None),
        Ok(name) => Numerics::from_name(&name).map(Some).ok_or(NumericsError),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(NumericsError),
    }
}

#[cfg(not(feature = "std"))]
fn from_environment() -> Result<Option<Numerics>, NumericsError> {
    Ok(None)
}

/// A processor family, as CPUID identifies it.
#[cfg(any(target_arch = "x86_64", test))]
struct Family {
    vendor: [u8; 12],
    family: u32,
    models: &'static [core::ops::RangeInclusive<u32>],
}

/// Families whose adders are separate from their multipliers. A plain matrix product leaves the adders idle.
///
/// Zen 4 issues two additions and two multiply-adds per cycle, and has enough load bandwidth for the fast inner
/// product. Zen 5 and Intel's processors are not listed: additions share the multipliers' ports, or load bandwidth is
/// the bottleneck.
#[cfg(any(target_arch = "x86_64", test))]
const GAIN: [Family; 1] = [Family {
    vendor: *b"AuthenticAMD",
    family: 0x19,
    // Genoa and Storm Peak; Raphael and Phoenix; Bergamo and Siena.
    models: &[0x10..=0x1f, 0x60..=0x7f, 0xa0..=0xaf],
}];

#[cfg(any(target_arch = "x86_64", test))]
fn listed(vendor: &[u8; 12], signature: u32) -> bool {
    let field = |shift: u32, bits: u32| (signature >> shift) & ((1 << bits) - 1);
    let (base, extended) = (field(8, 4), field(20, 8));
    let family = if base == 0xf { base + extended } else { base };
    let model = (field(16, 4) << 4) | field(4, 4);
    GAIN.iter().any(|gain| {
        gain.vendor == *vendor && gain.family == family && gain.models.iter().any(|models| models.contains(&model))
    })
}

#[cfg(target_arch = "x86_64")]
fn gains() -> bool {
    use core::arch::x86_64::__cpuid;
    let leaf = __cpuid(0);
    let mut vendor = [0; 12];
    for (to, from) in vendor.iter_mut().zip([leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).as_flattened()) {
        *to = *from;
    }
    listed(&vendor, __cpuid(1).eax)
}

#[cfg(not(target_arch = "x86_64"))]
fn gains() -> bool {
    false
}

/// `MBVC_NUMERICS` has an unknown value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericsError;

impl fmt::Display for NumericsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MBVC_NUMERICS must be `strict` or `fast`; unset it to use the default for this processor")
    }
}

impl core::error::Error for NumericsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_identified_by_vendor_and_model() {
        let amd = b"AuthenticAMD";
        assert!(listed(amd, 0x00a1_0f11), "Genoa: family 19h, model 11h");
        assert!(listed(amd, 0x00a6_0f12), "Raphael: family 19h, model 61h");
        assert!(!listed(amd, 0x00a0_0f11), "Milan (Zen 3): family 19h, model 01h");
        assert!(!listed(amd, 0x00b0_0f21), "Turin (Zen 5): family 1ah, model 02h");
        assert!(!listed(b"GenuineIntel", 0x00a1_0f11));
    }

    #[test]
    fn a_strict_network_stays_strict() {
        assert_eq!(Numerics::Strict.choose(), Ok(Numerics::Strict));
    }
}
