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

/// Element types and layouts, which a pickle refers to as it refers to functions.
const CONSTANTS: [&str; 14] = [
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
    "strided",
    "contiguous_format",
    "channels_last",
    "preserve_format",
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
        ("output_size", Value::None | Value::Int(_) | Value::Tuple(_) | Value::List(_)) => {
            set(&mut recorded.output, Some(pair(pickled, at).unwrap_or([0; 2])))
        }
        ("output_size", _) => false,
        ("divisor_override", value) => {
            recorded.has_divisor = !matches!(value, Value::None);
            true
        }
        ("min_val", _) => set(&mut recorded.bounds[0], number(pickled, at)),
        ("max_val", _) => set(&mut recorded.bounds[1], number(pickled, at)),
        (method, _) if METHODS.contains(&method) || is_function(pickled, at) => {
            set(&mut recorded.own_method, Some(shorten(method)))
        }
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

/// Whether a value is a function, a bound method or a `functools.partial`. Classes have names in upper case.
fn is_function(pickled: &Pickled<'_>, at: Ref) -> bool {
    if let Some((module, name)) = pickled.global(at) {
        let is_class = name.rsplit('.').next().is_some_and(|name| name.starts_with(char::is_uppercase));
        let is_constant = module == "torch" && CONSTANTS.contains(&name);
        let is_type = matches!(module, "builtins" | "__builtin__") && matches!(name, "int" | "float" | "bool" | "str");
        return !is_class && !is_constant && !is_type;
    }
    let callable = pickled.object(at).and_then(|object| pickled.global(object.callable));
    callable.is_some_and(|(module, name)| match module {
        "builtins" | "__builtin__" => name == "getattr",
        "functools" | "operator" | "_operator" => true,
        _ => ["dill.", "cloudpickle."].iter().any(|package| module.starts_with(package)),
    })
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
            let class = elements.first().and_then(|&first| class(pickled.object(first)?.callable));
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
