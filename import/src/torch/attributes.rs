//! Attributes of modules that a network depends on: sizes, epsilons, limits, hooks and replaced methods.

use super::value::{Pickled, Ref, Value};
use crate::state_dict::{Module, RESIDUALS};
use crate::text::shorten;

/// Classes of hooks that compute a weight from several tensors.
const PARAMETRIZATIONS: [&str; 2] = ["torch.nn.utils.weight_norm.WeightNorm", "torch.nn.utils.prune."];

/// Methods that compute a module. An object that has one of them does not run that of its class.
const METHODS: [&str; 10] = [
    "forward",
    "__call__",
    "_call_impl",
    "_wrapped_call_impl",
    "_slow_forward",
    "_conv_forward",
    "_forward_impl",
    "_forward_unimplemented",
    "forward_features",
    "forward_head",
];

/// Classes of Python.
const BUILTINS: [&str; 13] = [
    "int",
    "float",
    "bool",
    "str",
    "list",
    "dict",
    "tuple",
    "set",
    "frozenset",
    "bytes",
    "bytearray",
    "complex",
    "object",
];
/// Element types of NumPy. A name may have digits or an underscore at its end.
const NUMPY: [&str; 27] = [
    "ndarray",
    "dtype",
    "generic",
    "number",
    "integer",
    "floating",
    "bool",
    "int",
    "uint",
    "float",
    "complex",
    "half",
    "single",
    "double",
    "longdouble",
    "byte",
    "ubyte",
    "short",
    "ushort",
    "intc",
    "uintc",
    "intp",
    "uintp",
    "longlong",
    "str",
    "bytes",
    "object",
];
/// Element types, memory formats and classes of PyTorch. A name may have digits at its end.
const TORCH: [&str; 20] = [
    "float",
    "double",
    "half",
    "bfloat",
    "int",
    "long",
    "short",
    "uint",
    "bool",
    "complex",
    "cfloat",
    "cdouble",
    "qint",
    "quint",
    "bits",
    "contiguous_format",
    "preserve_format",
    "device",
    "dtype",
    "layout",
];

/// Returns what the attribute `key` with the value at `at` records; `None` if a network does not depend on it.
pub fn read(pickled: &Pickled<'_>, key: &str, at: Ref) -> Option<Module> {
    let mut recorded = Module::default();
    let is_read = match (key, pickled.get(at)) {
        ("stride", _) => set(&mut recorded.stride, pair(pickled, at)),
        ("padding", Value::Text(kind)) if kind == "valid" => set(&mut recorded.padding, Some([0; 2])),
        // The convention of all implementations: a convolution with this padding has stride 1.
        ("padding", Value::Text(kind)) if kind == "same" => true,
        ("padding", _) => set(&mut recorded.padding, pair(pickled, at)),
        ("dilation", _) => set(&mut recorded.dilation, pair(pickled, at)),
        ("padding_mode", _) => set(&mut recorded.padding_mode, pickled.text(at).map(str::to_owned)),
        ("eps", _) => set(&mut recorded.epsilon, number(pickled, at)),
        // The axis of the classes, for vectors of scores.
        ("dim", Value::None) => true,
        ("dim", _) => set(&mut recorded.dim, pickled.int(at)),
        (key, Value::Bool(residual)) if RESIDUALS.contains(&key) => set(&mut recorded.residual, Some(*residual)),
        (key, _) if RESIDUALS.contains(&key) => false,
        ("_forward_hooks" | "_forward_pre_hooks", _) => {
            recorded.hook = hook(pickled, at);
            true
        }
        ("kernel_size", _) => set(&mut recorded.window, pair(pickled, at)),
        // `None` keeps the size of the input.
        ("output_size", _) => set(&mut recorded.output, output(pickled, at)),
        ("divisor_override", value) => {
            recorded.has_divisor = !matches!(value, Value::None);
            true
        }
        ("min_val", _) => set(&mut recorded.bounds[0], number(pickled, at)),
        ("max_val", _) => set(&mut recorded.bounds[1], number(pickled, at)),
        (method, _) if METHODS.contains(&method) => set(&mut recorded.own_method, Some(shorten(method))),
        (key, _) if is_function(pickled, at) => set(&mut recorded.own_function, Some(shorten(key))),
        _ => return None,
    };
    if !is_read {
        recorded.unread.insert(key.to_owned(), described(pickled, at));
    }
    Some(recorded)
}

/// Sets `place`; returns whether there is a value.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

/// Returns two sizes: a pair, or one number for both.
fn pair(pickled: &Pickled<'_>, at: Ref) -> Option<[usize; 2]> {
    if let Some(size) = pickled.size(at) {
        return Some([size; 2]);
    }
    let at = size(pickled, at).unwrap_or(at);
    pickled.elements(at).filter(|pair| pair.len() == 2).and_then(|_| pickled.sizes(at)?.try_into().ok())
}

/// Returns the size of the output of an adaptive pool, 0 for any but a positive number; `None` for values of other types.
fn output(pickled: &Pickled<'_>, at: Ref) -> Option<[usize; 2]> {
    let is_size = |at: Ref| matches!(pickled.get(at), Value::None | Value::Int(_));
    let elements = pickled.elements(size(pickled, at).unwrap_or(at));
    let is_pair = elements.is_some_and(|pair| pair.len() <= 2 && pair.iter().all(|&at| is_size(at)));
    (is_size(at) || is_pair).then(|| pair(pickled, at).unwrap_or([0; 2]))
}

/// Returns the tuple of a `torch.Size`.
fn size(pickled: &Pickled<'_>, at: Ref) -> Option<Ref> {
    let object = pickled.object(at).filter(|object| pickled.global(object.callable) == Some(("torch", "Size")))?;
    pickled.elements(object.arguments)?.first().copied()
}

fn number(pickled: &Pickled<'_>, at: Ref) -> Option<f64> {
    match *pickled.get(at) {
        Value::Float(number) => Some(number),
        Value::Int(number) => Some(number as f64),
        _ => None,
    }
}

/// Returns the name of the first hook that does not compute a known parametrization.
fn hook(pickled: &Pickled<'_>, hooks: Ref) -> Option<String> {
    let name = |[_, hook]: &[Ref; 2]| {
        let object = pickled.object(*hook);
        let class = object.and_then(|object| match pickled.global(object.callable)? {
            // `copyreg._reconstructor(class, base, state)`.
            ("copyreg" | "copy_reg", _) => {
                pickled.elements(object.arguments)?.first().and_then(|&class| pickled.global(class))
            }
            class => Some(class),
        });
        let (module, name) = class.or_else(|| pickled.global(*hook)).unwrap_or(("", "function"));
        format!("{module}.{name}")
    };
    let is_known = |name: &String| PARAMETRIZATIONS.iter().any(|known| name.starts_with(known));
    pickled.entries(hooks).iter().map(name).find(|name| !is_known(name))
}

/// Whether a value is a function, a bound method or a `functools.partial` of one.
fn is_function(pickled: &Pickled<'_>, at: Ref) -> bool {
    if let Some(global) = pickled.global(at) {
        return !is_class(global);
    }
    let Some(object) = pickled.object(at) else { return false };
    let argument = |number: usize| pickled.elements(object.arguments)?.get(number).copied();
    let is_of_class = || argument(0).and_then(|class| pickled.global(class)).is_some_and(is_class);
    match pickled.global(object.callable) {
        // Python 3.11 refers to members of enumerations as attributes of their class.
        Some(("builtins" | "__builtin__", "getattr")) => {
            !(is_of_class() && argument(1).and_then(|name| pickled.text(name)).is_some_and(is_constant))
        }
        // A constructor with arguments.
        Some(("functools", "partial")) => !is_of_class(),
        Some(("functools" | "operator" | "_operator", _)) => true,
        Some((module, _)) => ["dill.", "cloudpickle."].iter().any(|package| module.starts_with(package)),
        None => false,
    }
}

/// Whether a name is that of a constant, such as a member of an enumeration.
fn is_constant(name: &str) -> bool {
    name.contains(char::is_uppercase) && !name.contains(char::is_lowercase)
}

/// Whether a global is a class or a constant, rather than a function. Class names start with an upper-case letter, except
/// those of Python, NumPy and PyTorch.
fn is_class((module, name): (&str, &str)) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.trim_start_matches('_').starts_with(char::is_uppercase) {
        return true;
    }
    let word = last.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '_');
    match module {
        "builtins" | "__builtin__" => BUILTINS.contains(&last),
        "collections" => true,
        "functools" => last == "partial",
        "numpy" | "numpy.core.multiarray" | "numpy._core.multiarray" => NUMPY.contains(&word),
        // The names of memory formats and quantization schemes contain that of the package.
        _ if module == "torch" || name.strip_prefix("torch.") == Some(last) => {
            (TORCH.contains(&word) && last != "complex")
                || ["float8_", "float4_", "quint4x2", "quint2x4", "per_", "channels_last"]
                    .iter()
                    .any(|start| last.starts_with(start))
        }
        _ => false,
    }
}

/// Returns a value as messages show it.
pub fn described(pickled: &Pickled<'_>, at: Ref) -> String {
    let class = |at: Ref| pickled.global(at).map(|(module, name)| shorten(&format!("{module}.{name}")));
    match pickled.get(at) {
        Value::None => "None".to_owned(),
        Value::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Long => "an integer of more than 64 bits".to_owned(),
        Value::Text(text) => format!("'{}'", shorten(text)),
        Value::Bytes => "bytes".to_owned(),
        Value::Tuple(elements) | Value::List(elements) => {
            let class = elements.iter().take(2).find_map(|&element| class(pickled.object(element)?.callable));
            class.map_or_else(|| counted_list(elements), |class| format!("a list of {class}"))
        }
        Value::Dict(_) => "a dictionary".to_owned(),
        Value::Global(_) => class(at).unwrap_or_default(),
        Value::Object(object) => class(object.callable).unwrap_or_else(|| "an object".to_owned()),
        Value::Persistent(_) => "a storage".to_owned(),
    }
}

fn counted_list(elements: &[Ref]) -> String {
    format!("a list of {}", crate::text::counted(elements.len(), "value"))
}
