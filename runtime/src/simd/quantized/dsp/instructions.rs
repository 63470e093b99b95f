//! Instructions of the DSP extension, or what they compute on other targets. `x` and `y` are pairs of 16-bit numbers.

/// Defines a function for an instruction, and what it computes.
macro_rules! instruction {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty, $text:literal, $emulation:expr) => {
        $(#[$doc])*
        #[cfg(mbvc_dsp)]
        #[inline(always)]
        pub fn $name($($argument: $kind),*) -> $result {
            let result;
            // SAFETY: the instruction reads and writes registers. It can set the flags Q and GE: `preserves_flags` is
            // omitted.
            unsafe {
                core::arch::asm!(
                    $text, result = lateout(reg) result, $($argument = in(reg) $argument,)* options(pure, nomem, nostack)
                );
            }
            result
        }

        $(#[$doc])*
        #[cfg(not(mbvc_dsp))]
        #[inline(always)]
        pub fn $name($($argument: $kind),*) -> $result {
            $emulation
        }
    };
}

instruction! {
    /// Adds both products of two pairs.
    smlad(x: u32, y: u32, sum: i32) -> i32, "smlad {result}, {x}, {y}, {sum}",
    sum.wrapping_add(low(x) * low(y)).wrapping_add(high(x) * high(y))
}
instruction! {
    /// Returns bytes 0 and 2 as 16-bit numbers.
    uxtb16(x: u32) -> u32, "uxtb16 {result}, {x}", x & 0x00ff_00ff
}
instruction! {
    /// Returns bytes 1 and 3 as 16-bit numbers.
    uxtb16_odd(x: u32) -> u32, "uxtb16 {result}, {x}, ror #8", x >> 8 & 0x00ff_00ff
}
instruction! {
    /// Returns signed bytes 0 and 2 as 16-bit numbers.
    sxtb16(x: u32) -> u32, "sxtb16 {result}, {x}", signed_bytes(x)
}
instruction! {
    /// Returns signed bytes 1 and 3 as 16-bit numbers.
    sxtb16_odd(x: u32) -> u32, "sxtb16 {result}, {x}, ror #8", signed_bytes(x.rotate_right(8))
}
instruction! {
    /// Adds with saturation.
    qadd(a: i32, b: i32) -> i32, "qadd {result}, {a}, {b}", a.saturating_add(b)
}
instruction! {
    /// Saturates to 0..=255.
    usat8(a: i32) -> u32, "usat {result}, #8, {a}", a.clamp(0, 255).cast_unsigned()
}
instruction! {
    /// Adds bytes with saturation to 255.
    uqadd8(x: u32, y: u32) -> u32, "uqadd8 {result}, {x}, {y}", {
        let (x, y) = (x.to_le_bytes(), y.to_le_bytes());
        u32::from_le_bytes([0, 1, 2, 3].map(|at: usize| x[at].saturating_add(y[at])))
    }
}

/// The low number of a pair.
#[cfg(not(mbvc_dsp))]
#[inline(always)]
pub fn low(x: u32) -> i32 {
    i32::from(x as i16)
}

/// The high number of a pair.
#[cfg(not(mbvc_dsp))]
#[inline(always)]
pub fn high(x: u32) -> i32 {
    i32::from((x >> 16) as i16)
}

#[cfg(not(mbvc_dsp))]
#[inline(always)]
fn signed_bytes(x: u32) -> u32 {
    let signed = |byte: u32| u32::from((byte as u8).cast_signed() as u16);
    signed(x) | signed(x >> 16) << 16
}
