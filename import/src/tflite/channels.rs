//! The order of an image's channels: slices that reverse them or select one, and the stack of single channels.

use super::schema::{self, Operator};
use super::tensors::{Input, Tensors};
use crate::error::Result;
use crate::source::{Selected, Value, reversed};

/// Axis of the channels in NHWC.
const CHANNELS: usize = 3;
const ALL_AXES: i32 = 0b1111;

/// Returns the channels that a STRIDED_SLICE selects; `None` if it is another slice.
pub fn sliced(tensors: &Tensors<'_>, operator: Operator<'_>, inputs: &[i32]) -> Result<Option<Selected>> {
    let &[_, begin, _, strides] = inputs else { return Ok(None) };
    let options = operator.options(schema::STRIDED_SLICE_OPTIONS)?;
    let [begins, ends, ellipsis, added, removed] = [4, 6, 8, 10, 12].map(|slot| options.i32(slot, 0));
    let (begins, ends, removed) = (begins?, ends?, removed?);
    if ellipsis? != 0 || added? != 0 {
        return Ok(None);
    }
    let numbers = |index| -> Result<Option<[i64; 4]>> {
        let constant = tensors.constant(index, None)?;
        Ok(constant.filter(|constant| constant.len() == 4).and_then(|constant| constant.to_i64().try_into().ok()))
    };
    let (Some(begin), Some(strides)) = (numbers(begin)?, numbers(strides)?) else { return Ok(None) };
    const CHANNEL: i32 = 1 << CHANNELS;
    let others = ALL_AXES & !CHANNEL;
    // A mask selects the whole axis.
    Ok(match strides {
        [1, 1, 1, -1] if begins & ends & ALL_AXES == ALL_AXES && removed == 0 => Some(Selected::Reversed),
        [1, 1, 1, 1] if begins & ends & others == others && begins & CHANNEL == 0 && removed == CHANNEL => {
            channel(begin[CHANNELS]).map(Selected::Channel)
        }
        _ => None,
    })
}

/// Returns one of three channels, which are counted from the end if negative.
fn channel(index: i64) -> Option<usize> {
    usize::try_from(if index < 0 { index.checked_add(3)? } else { index }).ok().filter(|channel| *channel < 3)
}

/// Returns the image whose channels a PACK stacks in reverse order; `None` if it stacks others.
pub fn stacked(tensors: &Tensors<'_>, operator: Operator<'_>, inputs: &[i32]) -> Result<Option<Value>> {
    let axis = operator.options(schema::PACK_OPTIONS)?.i32(6, 0)?;
    let &[first, second, third] = inputs else { return Ok(None) };
    let channels = [tensors.input(first)?, tensors.input(second)?, tensors.input(third)?];
    Ok(match channels {
        [Input::Channel(first, at), Input::Channel(second, next), Input::Channel(third, last)]
            if matches!(axis, 3 | -1) =>
        {
            reversed([(first, at), (second, next), (third, last)])
        }
        _ => None,
    })
}
