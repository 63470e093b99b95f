//! Networks with fewer instruction sets where tests are not optimized, so that they compile fast.

/// A network with the instruction sets `$isa` in the everyday tests, and with all in the slow tests, which are
/// optimized. The arguments after `everyday $isa` are those of `mobilenet_v2!`, without `isa`.
macro_rules! network {
    (everyday $isa:tt, $($call:tt)*) => {
        // One instruction set suffices for lints; `tests/hygiene.rs` lints the generated code of others.
        #[cfg(clippy)]
        mbvc::mobilenet_v2!($($call)*, isa = portable);
        #[cfg(all(debug_assertions, not(clippy)))]
        mbvc::mobilenet_v2!($($call)*, isa = $isa);
        #[cfg(not(any(debug_assertions, clippy)))]
        network!(optimized $isa, $($call)*);
    };
    // `dsp` is not among the instruction sets of `all`, and alone in networks of deep fusion.
    (optimized "dsp", $($call:tt)*) => {
        mbvc::mobilenet_v2!($($call)*, isa = "dsp");
    };
    (optimized $isa:tt, $($call:tt)*) => {
        mbvc::mobilenet_v2!($($call)*);
    };
}
pub(crate) use network;
