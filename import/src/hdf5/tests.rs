//! Files from h5py with every kind of object, in old and new structures (written by `tests/fixtures/keras_files.py`).

use super::*;
use crate::limits::unpacked;
use crate::source::{Constant, DType, Values};

const FILES: [&[u8]; 2] = [
    include_bytes!("../../tests/fixtures/headers_earliest.h5"),
    include_bytes!("../../tests/fixtures/headers_v108.h5"),
];

fn find<'a>(file: &File<'a>, path: &str) -> Object<'a> {
    path.split('/').fold(file.root().unwrap(), |object, name| {
        let address = file.members(&object).unwrap()[name];
        file.object(address).unwrap()
    })
}

fn values(file: &File<'_>, path: &str) -> (Vec<usize>, DType, Vec<f64>) {
    let Dataset { shape, dtype, bytes } = file.dataset(&find(file, path)).unwrap();
    let values = Constant::new(shape.clone(), Values::Bytes(dtype, bytes)).unwrap().to_f64();
    (shape, dtype, values)
}

#[test]
fn the_two_files_differ_in_structure() {
    let [old, new] = FILES.map(|file| file.windows(4).any(|window| window == b"OHDR"));
    assert!(!old && new);
}

#[test]
fn every_kind_of_dataset_is_read() {
    let counting: Vec<f64> = (0..35).map(f64::from).collect();
    for bytes in FILES {
        let file = File::open(bytes).unwrap();
        for (name, dtype) in
            [("<f2", DType::F16), ("<f4", DType::F32), ("<f8", DType::F64), ("<i4", DType::I32), ("u1", DType::U8)]
        {
            assert_eq!(values(&file, &format!("outer/inner/{name}")), (vec![5, 7], dtype, counting.clone()));
        }
        assert_eq!(values(&file, "scalar"), (vec![], DType::F32, vec![2.5]));
        for name in ["chunked", "packed"] {
            assert_eq!(values(&file, name), (vec![5, 7], DType::F32, counting.clone()), "{name}");
        }
        let filled: Vec<f64> = counting.iter().map(|value| if *value < 14.0 { *value } else { 1.5 }).collect();
        assert_eq!(values(&file, "filled"), (vec![5, 7], DType::F32, filled));
        assert_eq!(values(&file, "unwritten"), (vec![3], DType::F64, vec![2.5; 3]));
        let error = |path| file.dataset(&find(&file, path)).unwrap_err().to_string();
        assert!(error("big").contains("little-endian"));
        assert!(error("summed").contains("filter 3"));
        assert!(error("outer").contains("not a complete dataset"));
        assert!(find(&file, "scalar").is_dataset() && !find(&file, "outer").is_dataset());
    }
}

#[test]
fn string_attributes_are_read() {
    for bytes in FILES {
        let file = File::open(bytes).unwrap();
        let root = file.root().unwrap();
        for (name, text) in [
            ("text", Some("of variable length")),
            ("list", Some("one")),
            ("fixed", Some("ab")),
            ("none", None),
            ("absent", None),
        ] {
            assert_eq!(file.string(&root, name, 18).unwrap(), text, "{name}");
            assert_eq!(file.has_attribute(&root, name).unwrap(), name != "absent");
        }
        assert_eq!(file.strings(&root, "list", 3, 18).unwrap(), ["one", "two", ""]);
        assert_eq!(file.strings(&root, "fixed", 3, 18).unwrap(), ["ab", "cde"]);
        assert_eq!(file.strings(&root, "split", 3, 18).unwrap(), ["a", "b", "c"]);
        assert_eq!(file.strings(&root, "absent", 3, 18).unwrap(), [""; 0]);
        assert!(file.strings(&root, "list", 2, 18).unwrap_err().to_string().contains("at most 2 strings"));
        let error = file.string(&root, "text", 17).unwrap_err().to_string();
        assert!(error.contains("attribute 'text': the string has 18 bytes"), "{error}");
    }
}

#[test]
fn contiguous_datasets_are_not_copied() {
    let file = File::open(FILES[0]).unwrap();
    assert!(matches!(file.dataset(&find(&file, "scalar")).unwrap().bytes, std::borrow::Cow::Borrowed(_)));
}

/// Deflate could compress a gigabyte of zeros to 20 KB.
#[test]
fn unpacking_is_limited_by_the_file_size() {
    let file = File::open(FILES[0]).unwrap();
    assert!(file.charge(1 << 25).is_ok());
    let error = file.charge((1 << 25) + 1).unwrap_err().to_string();
    assert!(error.contains("more than the file can contain"), "{error}");
}

/// Damages every word of both files once: reading everything must end within the memory limit.
#[test]
fn corrupt_words_do_not_panic() {
    fn visit(file: &File<'_>, object: &Object<'_>, depth: usize) {
        for name in ["text", "list", "fixed"] {
            let _ = file.string(object, name, 1000);
        }
        let _ = file.dataset(object).map(|dataset| assert!(dataset.bytes.len() <= unpacked(file.bytes.len())));
        for address in file.members(object).into_iter().flat_map(|members| members.into_values()) {
            if let (Ok(member), true) = (file.object(address), depth > 0) {
                visit(file, &member, depth - 1);
            }
        }
    }
    const VALUES: [u32; 5] = [0, 1, 0xffff, 0x8000_0000, u32::MAX];
    let mut opened = 0;
    for bytes in FILES {
        for at in (0..bytes.len().saturating_sub(4)).step_by(4) {
            let mut damaged = bytes.to_vec();
            damaged[at..at + 4].copy_from_slice(&VALUES[at / 4 % VALUES.len()].to_le_bytes());
            if let Ok(file) = File::open(&damaged)
                && let Ok(root) = file.root()
            {
                opened += 1;
                visit(&file, &root, 4);
            }
        }
    }
    assert!(opened > 1000, "{opened}");
}

#[test]
fn the_superblock_is_checked() {
    let error = |bytes: &[u8]| File::open(bytes).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error(b"").contains("HDF5"));
    assert!(error(b"\x89HDF\r\n\x1a\n\x09").contains("version 9"));
    let mut bytes = [MAGIC, &[2, 8, 8, 0]].concat();
    for address in [0u64, u64::MAX, 52] {
        bytes.extend_from_slice(&address.to_le_bytes());
    }
    bytes.extend_from_slice(&48u64.to_le_bytes());
    assert!(error(&bytes).contains("truncated"));
    bytes.extend_from_slice(&[0; 8]);
    assert!(File::open(&bytes).is_ok());
    bytes[9] = 3;
    assert!(error(&bytes).contains("3 and 8 bytes"), "{}", error(&bytes));
}
