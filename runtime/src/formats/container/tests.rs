extern crate std;

use std::collections::HashMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;
use safetensors::tensor::TensorView as TheirView;

use super::*;

/// Returns a file with this header and `data` data bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend((0..data).map(|i| i as u8));
    file
}

fn tensor(name: &str, dtype: &str, shape: &str, begin: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn error(header: &str, data: usize) -> String {
    Container::parse(&file(header, data)).unwrap_err().to_string()
}

#[test]
fn reads_what_safetensors_writes() {
    let bias: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let weight: Vec<u8> = (0..24).map(|i| i as f32).flat_map(f32::to_le_bytes).collect();
    let metadata = HashMap::from([
        ("mbvc.labels".to_string(), "background\ntench\n\"é\" \\ 猫😀".to_string()),
        ("mbvc.format".to_string(), "1".to_string()),
    ]);
    let tensors = [
        ("stem.weight", TheirView::new(safetensors::Dtype::F32, vec![1, 1, 3, 8], &weight).unwrap()),
        ("stem.bias", TheirView::new(safetensors::Dtype::F32, vec![2], &bias).unwrap()),
        ("scalar", TheirView::new(safetensors::Dtype::U8, vec![], &[7]).unwrap()),
        ("empty", TheirView::new(safetensors::Dtype::I64, vec![0, 5], &[]).unwrap()),
    ];
    let bytes = safetensors::serialize(tensors, Some(metadata.clone())).unwrap();
    let container = Container::parse(&bytes).unwrap();

    let weight = container.tensor("stem.weight").unwrap();
    assert_eq!(weight.dtype, Dtype::F32);
    assert_eq!(weight.shape.dims(), [1, 1, 3, 8]);
    let values = weight.f32s().unwrap();
    assert_eq!(values.len(), 24);
    assert_eq!(values.iter().collect::<Vec<_>>(), (0..24).map(|i| i as f32).collect::<Vec<_>>());
    assert_eq!((values.get(23), values.get(24), values.get(usize::MAX)), (Some(23.0), None, None));
    assert_eq!(values.slice(22, 2).unwrap().iter().collect::<Vec<_>>(), [22.0, 23.0]);
    assert!(values.slice(22, 3).is_none() && values.slice(usize::MAX, 1).is_none());
    assert_eq!(container.tensor("stem.bias").unwrap().f32s().unwrap().get(1), Some(-2.0));
    let scalar = container.tensor("scalar").unwrap();
    assert_eq!((scalar.shape.dims(), scalar.data), (&[][..], &[7u8][..]));
    assert!(scalar.f32s().is_none());
    assert_eq!(container.tensor("empty").unwrap().shape.dims(), [0, 5]);
    assert!(container.tensor("stem").is_none());
    assert_eq!(container.tensors().count(), 4);

    let read: HashMap<String, String> =
        container.metadata_entries().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    assert_eq!(read, metadata);
    assert!(container.metadata("labels").is_none());
}

#[test]
fn the_least_files_are_valid() {
    assert_eq!(Container::parse(&file("{}", 0)).unwrap().tensors().count(), 0);
    let spaced =
        file("  {\n \"__metadata__\" : { } , \"a\":{\"data_offsets\":[0,2],\"shape\":[ 2 ],\"dtype\":\"U8\"} } ", 2);
    assert!(Container::parse(&spaced).unwrap().tensor("a").is_some());
}

/// Names and ranges may be in any order, so the check of uniqueness may need to compare all pairs.
#[test]
fn order_is_free() {
    let (a, b, c) = (tensor("a", "U8", "[2]", 0, 2), tensor("b", "U8", "[3]", 2, 5), tensor("c", "U8", "[0]", 2, 2));
    for list in [[&a, &b, &c], [&c, &b, &a], [&b, &a, &c], [&b, &c, &a]] {
        let bytes = file(&format!("{{{},{},{}}}", list[0], list[1], list[2]), 5);
        assert_eq!(Container::parse(&bytes).unwrap().tensor("b").unwrap().data, [2, 3, 4]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "parses thousands of entries")]
fn tensors_and_metadata_are_limited() {
    let many = |count: usize| {
        let list: Vec<_> = (0..count).map(|i| tensor(&format!("t{i:06}"), "U8", "[0]", 0, 0)).collect();
        format!("{{{}}}", list.join(","))
    };
    let metadata = |count: usize| {
        let list: Vec<_> = (0..count).map(|i| format!("\"{i}\":\"\"")).collect();
        format!("{{\"__metadata__\":{{{}}}}}", list.join(","))
    };
    assert!(Container::parse(&file(&many(MAX_TENSORS), 0)).is_ok());
    assert!(Container::parse(&file(&metadata(MAX_METADATA), 0)).is_ok());
    assert!(error(&many(MAX_TENSORS + 1), 0).contains("more than 2048 tensors"));
    assert!(error(&metadata(MAX_METADATA + 1), 0).contains("more than 256 metadata entries"));
}

#[test]
fn every_broken_rule_is_named() {
    let one = |dtype, shape, begin, end, data| error(&format!("{{{}}}", tensor("a", dtype, shape, begin, end)), data);
    let two = |a: String, b: String, data| error(&format!("{{{a},{b}}}"), data);
    for (got, expected) in [
        (error("", 0), "invalid at byte 8: the text ends"),
        (error("[]", 0), "invalid at byte 8: expected `{`"),
        (error("{}x", 0), "invalid at byte 10: expected ` `"),
        (error("{\"a\":{}}", 0), "tensor `a`: `dtype` is missing"),
        (error("{\"a\":{\"dtype\":\"F32\"}}", 0), "tensor `a`: `shape` is missing"),
        (error("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0), "tensor `a`: `data_offsets` is missing"),
        (error("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0), "tensor `a`: duplicate `dtype`"),
        (error("{\"a\":{\"kind\":1}}", 0), "tensor `a`: unknown key `kind`"),
        (error("{\"a\":{\"data_offsets\":[0]}}", 0), "tensor `a`: `data_offsets` is missing or malformed"),
        (error("{\"a\":{\"data_offsets\":[0,0,0]}}", 0), "tensor `a`: `data_offsets` is missing or malformed"),
        (one("F12", "[1]", 0, 1, 1), "tensor `a`: unsupported element type `F12`"),
        (one("U8", "[-1]", 0, 1, 1), "expected a whole number"),
        (one("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1, 1), "tensor `a`: more than 8 dimensions"),
        (one("U8", "[9999999999999,9999999999999]", 0, 1, 1), "tensor `a`: its shape requires more bytes"),
        (one("F32", "[2]", 0, 8, 7), "tensor `a`: bytes 0..8 are outside the 7 bytes"),
        (one("F32", "[2]", 8, 0, 8), "tensor `a`: bytes 8..0 are outside"),
        (one("F32", "[2]", 0, 7, 7), "tensor `a`: its shape and element type require 8 bytes, but data_offsets has 7"),
        (one("F32", "[2]", 0, 8, 9), "the tensors occupy 8 of 9 bytes"),
        (two(tensor("a", "U8", "[1]", 0, 1), tensor("a", "U8", "[1]", 1, 2), 2), "`a`: two tensors have this name"),
        (two(tensor("a", "U8", "[1]", 0, 1), tensor(r"\u0061", "U8", "[1]", 1, 2), 2), "two tensors have this name"),
        (two(tensor("a", "U8", "[2]", 0, 2), tensor("b", "U8", "[2]", 1, 3), 4), "`a`: shares bytes with `b`"),
        (two(tensor("a", "U8", "[1]", 0, 1), tensor("b", "U8", "[1]", 2, 3), 3), "the tensors occupy 2 of 3 bytes"),
        (error(r#"{"__metadata__":{"a":"","a":""}}"#, 0), "duplicate metadata `a`"),
        (error(r#"{"__metadata__":{"a":1}}"#, 0), "expected `\"`"),
        (error(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "a second `__metadata__`"),
        (Container::parse(b"\x08\0\0\0").unwrap_err().to_string(), "4 bytes cannot hold"),
        (Container::parse(&[0xff; 8]).unwrap_err().to_string(), "found a length of 18446744073709551615"),
        (Container::parse(b"\x03\0\0\0\0\0\0\0{}").unwrap_err().to_string(), "the file ends within"),
        (Container::parse(b"\x05\0\0\0\0\0\0\0{\"\xff\":").unwrap_err().to_string(), "not UTF-8"),
    ] {
        assert!(got.contains(expected), "{got:?} should contain {expected:?}");
    }
}

/// The comparison of all pairs is quadratic. The limits bound the longest header to about a second.
#[test]
#[cfg_attr(miri, ignore = "parses a megabyte several times")]
fn the_worst_header_is_bounded() {
    let name = "x".repeat(MAX_HEADER_BYTES / MAX_TENSORS - 70);
    let list: Vec<_> = (0..MAX_TENSORS).rev().map(|i| tensor(&format!("{name}{i:06}"), "U8", "[0]", 0, 0)).collect();
    let bytes = file(&format!("{{{}}}", list.join(",")), 0);
    assert!(bytes.len() < MAX_HEADER_BYTES);
    assert!(Container::parse(&bytes).is_ok());
}

fn valid_files() -> impl Strategy<Value = Vec<u8>> {
    let tensors = proptest::collection::btree_map("[a-z.]{1,6}", proptest::collection::vec(0usize..4, 0..4), 1..5);
    let metadata = proptest::collection::hash_map(".{0,4}", ".{0,9}", 0..4);
    (tensors, metadata).prop_map(|(tensors, metadata)| {
        let data = [3u8; 4 * 64];
        let views = tensors.iter().map(|(name, shape)| {
            let bytes = 4 * shape.iter().product::<usize>();
            (name, TheirView::new(safetensors::Dtype::F32, shape.clone(), &data[..bytes]).unwrap())
        });
        safetensors::serialize(views, Some(metadata)).unwrap()
    })
}

fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (Container::parse(bytes), safetensors::SafeTensors::deserialize(bytes));
    let Ok(ours) = ours else { return Ok(()) };
    // The reference parser accepts what we accept, and reads the same values.
    let theirs = theirs.map_err(|e| TestCaseError::fail(format!("only we accept it: {e}")))?;
    prop_assert_eq!(ours.tensors().count(), theirs.len());
    for tensor in ours.tensors() {
        let name = tensor.name.to_string();
        let other = theirs.tensor(&name).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(tensor.shape.dims(), other.shape());
        prop_assert_eq!(tensor.data, other.data());
        prop_assert_eq!(ours.tensor(&name).map(|t| t.data), Some(other.data()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn accepts_and_reads_files_of_safetensors(bytes in valid_files()) {
        let parsed = Container::parse(&bytes).map(|_| ()).map_err(|e| e.to_string());
        prop_assert_eq!(parsed, Ok(()));
        agree(&bytes)?;
    }

    #[test]
    fn corrupt_files_never_panic_nor_mislead(
        bytes in valid_files(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = bytes;
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        agree(&bytes)?;
        if let Err(error) = Container::parse(&bytes) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn hostile_headers_never_panic(header in r#"[{}\[\]",:0-9a-c\\u_ -]{0,60}"#, data in 0usize..9) {
        agree(&file(&header, data))?;
    }

    #[test]
    fn hostile_members_never_panic(
        list in proptest::collection::vec((0usize..3, "(F32|U8|I64|F4)", proptest::collection::vec(0usize..4, 0..3), 0usize..9, 0usize..9), 0..4),
        data in 0usize..9,
    ) {
        let list: Vec<_> = list
            .iter()
            .map(|(name, dtype, shape, begin, end)| tensor(["a", "b", r"\u0061"][*name], dtype, &format!("{shape:?}"), *begin, *end))
            .collect();
        agree(&file(&format!("{{{}}}", list.join(",")), data))?;
    }
}

/// Names with escapes, two names with the same hash, and unknown names.
#[cfg(feature = "alloc")]
#[test]
fn an_index_finds_what_a_scan_finds() {
    let names = [r"\u0061", "b", r"costarring\/", "stem.weight", "declinate", "macallums"];
    let header: Vec<String> =
        names.iter().enumerate().map(|(at, name)| tensor(name, "U8", "[1]", at, at + 1)).collect();
    let header = format!(r#"{{"__metadata__":{{"stem.bias":"no tensor"}}, {} }}"#, header.join(" , "));
    let bytes = file(&header, names.len());
    let plain = Container::parse(&bytes).unwrap();
    let index = plain.header().index();
    let indexed = Container::parsed_before(&bytes, plain.metadata_span(), &index);
    for (at, name) in ["a", "b", "costarring/", "stem.weight", "declinate", "macallums"].into_iter().enumerate() {
        assert_eq!(indexed.tensor(name).unwrap().data, [at as u8], "{name}");
        assert_eq!(plain.tensor(name).unwrap().data, [at as u8], "{name}");
    }
    for name in ["", "stem.bias", "__metadata__", r"\u0061", "liquid"] {
        assert!(indexed.tensor(name).is_none() && plain.tensor(name).is_none(), "{name}");
    }
}
