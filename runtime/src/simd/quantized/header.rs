//! The part of the quantized vocabularies that reads a layer's header, for vectors of any instruction set.

/// Defines the readers of headers with the given attributes. `$all` returns an integer in all lanes, `$factor` a factor
/// from its multiplier and its exponent, each in all lanes.
macro_rules! header {
    ($(#[$attribute:meta])* $all:ident, $factor:ident) => {
        /// Returns the zero point and the limits of a header.
        $(#[$attribute])*
        pub fn range(header: Src<'_, u8>) -> Range {
            let number = |index: usize| $all(header.word($crate::quantized::header::RANGE + index * 4));
            Range { zero: number(0), low: number(1), high: number(2) }
        }

        /// Returns the value of padding as a zero point, and the limits of bytes.
        $(#[$attribute])*
        pub fn padding(header: Src<'_, u8>) -> Range {
            Range { zero: $all(header.word($crate::quantized::header::PADDING)), low: $all(0), high: $all(255) }
        }

        /// Returns the parameters of a residual add of a header.
        $(#[$attribute])*
        pub fn addends(header: Src<'_, u8>) -> Addends {
            let number = |index: usize| header.word($crate::quantized::header::ADDENDS + index * 4);
            Addends {
                left: $all(number(0)),
                right: $all(number(1)),
                bias: $all(number(2)),
                shift: number(3),
                low: $all(number(4)),
                high: $all(number(5)),
            }
        }

        /// Returns the parameters of a residual add of the reference kernels of a header.
        $(#[$attribute])*
        pub fn fixed_addends(header: Src<'_, u8>) -> FixedAddends {
            let number = |index: usize| $all(header.word($crate::quantized::header::FIXED_ADDENDS + index * 4));
            let factor = |index| $factor(number(index), number(index + 1));
            FixedAddends {
                zero: number(0),
                left: factor(1),
                low: number(3),
                high: number(4),
                right: factor(5),
                sum: factor(7),
            }
        }
    };
}

pub(super) use header;
