//! How the files of this crate depend on each other.

use std::path::Path;

use architecture::Imports;

#[path = "../../tests/architecture/mod.rs"]
mod architecture;

/// Modules of this crate, each of which may use those before it.
const ORDER: [&str; 32] = [
    "error",
    "text",
    "limits",
    "files",
    "beside",
    "archive",
    "labels",
    "source",
    "published",
    "options",
    "recognize",
    "normalization",
    "recover",
    "hdf5",
    "keras",
    "tfjs",
    "onnx",
    "tflite",
    "state_dict",
    "torch",
    "detect",
    "tensor",
    "quantized",
    "fold",
    "container",
    "calibrate",
    "trace",
    "spec_yaml",
    "imported",
    "read",
    "adjust",
    "inspect",
];

fn of_this_crate() -> Imports {
    let imports = Imports::of_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(imports.all().len() > 100, "{:?}", imports.all());
    imports
}

#[test]
fn no_files_import_each_other() {
    assert_eq!(of_this_crate().circles(), []);
}

#[test]
fn modules_use_earlier_modules_only() {
    assert_eq!(of_this_crate().against(&ORDER), []);
}

fn imports<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
    Imports::of_files(files).all().iter().map(|import| format!("{import:?}")).collect()
}

#[test]
fn finds_circles_and_their_names() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; pub use a::A;"),
        ("a.rs", "use crate::b::{self, B as Other}; pub struct A(Other);"),
        ("b/mod.rs", "mod inner; pub use inner::Inner; pub struct B; fn f() { crate::c::g::<u8>(); }"),
        ("b/inner.rs", "use super::super::c; pub struct Inner; fn f() { c::h() }"),
        ("c.rs", "pub fn g<T>() {} pub fn h() { let x: crate::A = todo!(); }"),
        ("main.rs", ""),
    ];
    let found = Imports::of_files(files).circles();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].files, ["a.rs", "b/mod.rs", "c.rs"]);
    let imports: Vec<_> = found[0].imports.iter().map(|import| format!("{import:?}")).collect();
    assert_eq!(imports, ["a.rs -> b/mod.rs: B", "b/mod.rs -> c.rs: g", "c.rs -> a.rs: A"]);
}

#[test]
fn a_module_and_its_parts_are_a_circle_unless_submodules_are_left_out() {
    let outer = ("outer/mod.rs", "mod part; use crate::other::Other; pub struct Outer(part::Part);");
    let part = ("outer/part.rs", "use super::Outer; pub struct Part;");
    let other = ("other.rs", "pub struct Other;");
    let read = || Imports::of_files([("lib.rs", "mod outer; mod other;"), outer, part, other]);
    assert_eq!(read().circles()[0].files, ["outer/mod.rs", "outer/part.rs"]);
    assert_eq!(read().without_submodules().circles(), []);
    assert_eq!(read().without_submodules().all().len(), 2);
}

#[test]
fn follows_reexports_to_the_definition() {
    let user = ("user.rs", "use crate::outer::{Deep, Shallow}; use crate::outer::inner;");
    let outer = ("outer/mod.rs", "pub mod inner; pub use inner::*; pub struct Shallow;");
    let inner = ("outer/inner.rs", "pub struct Deep;");
    assert_eq!(
        imports([("lib.rs", ""), user, outer, inner]),
        ["user.rs -> outer/inner.rs: Deep", "user.rs -> outer/mod.rs: Shallow"]
    );
}

#[test]
fn a_reexport_is_an_import_only_where_it_is_used() {
    let part = ("part.rs", "pub struct Part; use super::top;");
    let lib = |text| [("lib.rs", text), part];
    assert_eq!(imports(lib("mod part; pub use part::Part; pub fn top() {}")), ["part.rs -> lib.rs: top"]);
    assert_eq!(
        imports(lib("mod part; pub use part::Part; pub fn top() -> Part {}")),
        ["lib.rs -> part.rs: Part", "part.rs -> lib.rs: top"]
    );
    assert_eq!(
        imports(lib("mod part; pub fn top() -> part::Part {}")),
        ["lib.rs -> part.rs: Part", "part.rs -> lib.rs: top"]
    );
}

#[test]
fn comments_literals_and_tests_are_no_imports() {
    let text = r##"
        // use crate::b::A;
        /* crate::b::A /* nested */ crate::b::A */
        const TEXT: (&str, &str, char) = ("crate::b::A \" crate::b::A", r#"crate::b::A " crate::b::A"#, '"');
        fn f<'a>(x: &'a str) -> char { '\'' }
        #[cfg(test)]
        mod tests { use crate::b::A; fn f() { { crate::b::A } } }
        #[cfg(test)]
        use crate::b::{A, B};
        #[cfg(test)]
        mod more;
        use crate::b::C;
    "##;
    let b = ("b.rs", "pub struct A; pub struct B; pub struct C;");
    let more = ("a/more.rs", "use crate::b::A;");
    assert_eq!(imports([("lib.rs", "mod a; mod b;"), ("a.rs", text), b, more]), ["a.rs -> b.rs: C"]);
}

#[test]
fn modules_keep_their_order() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "use crate::high::deep::Deep; pub struct Low;"),
        ("high/mod.rs", "pub mod deep; use crate::low::Low; pub struct High;"),
        ("high/deep.rs", "use super::High; pub struct Deep;"),
    ];
    let imports = Imports::of_files(files);
    let against =
        |order: &[&str]| -> Vec<String> { imports.against(order).iter().map(|import| format!("{import:?}")).collect() };
    assert_eq!(against(&["low", "high"]), ["low.rs -> high/deep.rs: Deep"]);
    assert_eq!(against(&["high", "low"]), ["high/mod.rs -> low.rs: Low"]);
    assert_eq!(against(&["high::deep", "high"]), ["high/deep.rs -> high/mod.rs: High"]);
    assert_eq!(against(&["high", "high::deep"]), Vec::<String>::new());
}
