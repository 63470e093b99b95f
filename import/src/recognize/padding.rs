//! The padding convention of a network, from its windows.
//!
//! The conventions differ only for a window with stride 2 on an even size: `same` pads one pixel below and on the right,
//! `symmetric` one on every side. The output size is equal, the values differ.

use mbvc_compiler::spec::Padding;

use crate::source::Pads;

/// Conventions that all windows so far allow.
#[derive(Debug)]
pub struct Evidence {
    same: bool,
    symmetric: bool,
    decided_at: Option<String>,
    /// The first layer with stride 2 and one pixel on every side in numbers, rather than as TensorFlow's SAME.
    explicit_at: Option<String>,
}

/// Returns the padding of TensorFlow's SAME for a window of 3, before and after.
pub fn same(size: usize, stride: usize) -> [usize; 2] {
    let total = (size.div_ceil(stride).saturating_sub(1).saturating_mul(stride).saturating_add(3)).saturating_sub(size);
    [total / 2, total - total / 2]
}

/// Returns top, left, bottom, right of a 3x3 window; `None` if it depends on an unknown size.
pub fn literal(pads: Pads, image: Option<[usize; 2]>, stride: usize) -> Option<[usize; 4]> {
    let unknown_size = || (stride == 1).then_some([1; 4]);
    match pads {
        Pads::Explicit(sides) => Some(sides),
        Pads::Same | Pads::SameLower => {
            let Some([height, width]) = image else { return unknown_size() };
            let ([top, bottom], [left, right]) = (same(height, stride), same(width, stride));
            Some(if pads == Pads::Same { [top, left, bottom, right] } else { [bottom, right, top, left] })
        }
    }
}

impl Evidence {
    pub fn new() -> Self {
        Self { same: true, symmetric: true, decided_at: None, explicit_at: None }
    }

    /// Adds the 3x3 window of layer `role`.
    ///
    /// # Errors
    /// If the window follows neither convention or conflicts with earlier windows. Returns the expected and the found
    /// padding.
    pub fn add(&mut self, role: &str, pads: Pads, image: Option<[usize; 2]>, stride: usize) -> Result<(), [String; 2]> {
        let same_here = image.map_or_else(
            // Explicit numbers show the side of the odd pixel. They are those of `same` at even sizes only: see
            // `Chain::size_multiple`.
            || if stride == 1 { [1; 4] } else { [0, 0, 1, 1] },
            |[height, width]| {
                let ([top, bottom], [left, right]) = (same(height, stride), same(width, stride));
                [top, left, bottom, right]
            },
        );
        let found = literal(pads, image, stride);
        let fits_same = if pads == Pads::Same { true } else { found == Some(same_here) };
        let fits_symmetric = found == Some([1; 4]);
        let (same, symmetric) = (self.same && fits_same, self.symmetric && fits_symmetric);
        if !same && !symmetric {
            let mut expected = Vec::new();
            if self.same {
                expected.push(format!("{} (same)", sides(same_here)));
            }
            if self.symmetric {
                expected.push(format!("{} (symmetric)", sides([1; 4])));
            }
            let as_earlier = self.decided_at.as_ref().map(|role| format!(", as in {role}")).unwrap_or_default();
            let found = found.map_or_else(|| format!("{pads:?}"), sides);
            return Err([format!("{}{as_earlier}", expected.join(" or ")), found]);
        }
        if (same, symmetric) != (self.same, self.symmetric) {
            self.decided_at = Some(role.to_owned());
        }
        (self.same, self.symmetric) = (same, symmetric);
        if stride == 2 && pads == Pads::Explicit([1; 4]) {
            self.explicit_at.get_or_insert_with(|| role.to_owned());
        }
        Ok(())
    }

    /// Returns the first layer with stride 2 whose padding is in numbers and equal on every side.
    pub fn explicit(&self) -> Option<String> {
        self.explicit_at.clone()
    }

    /// Returns the convention and the layer that determined it; `None` if all windows allow both.
    pub fn outcome(&self) -> (Option<Padding>, Option<String>) {
        let convention = match (self.same, self.symmetric) {
            (true, false) => Some(Padding::Same),
            (false, true) => Some(Padding::Symmetric),
            _ => None,
        };
        (convention, self.decided_at.clone())
    }
}

fn sides([top, left, bottom, right]: [usize; 4]) -> String {
    format!("padding {top} above, {left} left, {bottom} below, {right} right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_follows_tensorflow() {
        assert_eq!(same(224, 2), [0, 1]);
        assert_eq!(same(225, 2), [1, 1]);
        assert_eq!(same(7, 1), [1, 1]);
        assert_eq!(same(1, 2), [1, 1]);
        assert_eq!(same(2, 2), [0, 1]);
    }

    #[test]
    fn the_first_even_size_with_stride_2_decides() {
        let mut evidence = Evidence::new();
        evidence.add("a", Pads::Explicit([1; 4]), Some([33, 33]), 2).unwrap();
        assert_eq!((evidence.outcome(), evidence.explicit()), ((None, None), Some("a".into())));
        evidence.add("b", Pads::Explicit([1, 0, 1, 1]), Some([17, 16]), 2).unwrap();
        assert_eq!(evidence.outcome(), (Some(Padding::Same), Some("b".into())));
        let [expected, found] = evidence.add("c", Pads::Explicit([1; 4]), Some([8, 8]), 2).unwrap_err();
        assert!(expected.contains("as in b"), "{expected}");
        assert!(found.contains("1 above"), "{found}");
    }

    #[test]
    fn explicit_padding_decides_for_dynamic_sizes() {
        for (pads, convention) in [
            (Pads::Explicit([1; 4]), Padding::Symmetric),
            (Pads::Explicit([0, 0, 1, 1]), Padding::Same),
            (Pads::Same, Padding::Same),
        ] {
            let mut evidence = Evidence::new();
            evidence.add("stem", pads, None, 2).unwrap();
            assert_eq!(evidence.outcome().0, Some(convention));
        }
    }

    #[test]
    fn rejects_other_paddings() {
        for (pads, image, stride) in [
            (Pads::SameLower, Some([224, 224]), 2),
            (Pads::Explicit([0; 4]), Some([224, 224]), 1),
            (Pads::Explicit([1, 1, 0, 0]), None, 2),
        ] {
            assert!(Evidence::new().add("stem", pads, image, stride).is_err());
        }
    }
}
