//! Parameters of the functions of PyTorch that are executed, in the order of its schemas
//! (<https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml>).

/// Functions, and their parameters. Those of several overloads are listed together.
const SIGNATURES: [(&str, &str); 38] = [
    ("relu relu6 sigmoid neg detach alias data requires_grad dim is_floating_point any t", "self"),
    ("dtype device layout NumToTensor ScalarImplicit IntImplicit FloatImplicit Int Float Bool ceil floor", "a"),
    ("len", "a"),
    ("size squeeze unsqueeze", "self dim"),
    ("__is__ __isnot__", "self obj"),
    ("__not__", "self"),
    ("hardtanh", "self min_val max_val"),
    ("clamp", "self min max"),
    ("clamp_min", "self min"),
    ("clamp_max", "self max"),
    ("softmax log_softmax", "self dim dtype"),
    ("add sub rsub subtract", "self other alpha"),
    ("mul multiply eq ne lt le gt ge floor_divide remainder __and__ __or__", "self other"),
    ("floordiv", "a b"),
    ("div divide true_divide", "self other rounding_mode"),
    ("adaptive_avg_pool2d", "self output_size"),
    ("avg_pool2d", "self kernel_size stride padding ceil_mode count_include_pad divisor_override"),
    ("mean", "self dim keepdim dtype"),
    ("flatten", "self start_dim end_dim"),
    ("view", "self size"),
    ("reshape", "self shape"),
    ("select", "self dim index"),
    ("slice", "self dim start end step"),
    ("cat", "tensors dim"),
    ("repeat", "self repeats"),
    ("expand", "self size implicit"),
    ("pad", "self pad mode value"),
    ("constant_pad_nd", "self pad value"),
    ("argmax", "self dim keepdim"),
    ("topk", "self k dim largest sorted"),
    ("conv2d _convolution_mode", "input weight bias stride padding dilation groups"),
    (
        "_convolution",
        "input weight bias stride padding dilation transposed output_padding groups benchmark deterministic \
         cudnn_enabled allow_tf32",
    ),
    ("batch_norm", "input weight bias running_mean running_var training momentum eps cudnn_enabled"),
    ("linear", "input weight bias"),
    ("matmul", "self other"),
    ("mm", "self mat2"),
    ("addmm", "self mat1 mat2 beta alpha"),
    ("dropout feature_dropout alpha_dropout feature_alpha_dropout", "input p train"),
];
/// Conversions, whose overloads have the same parameters in other places.
const CONVERSIONS: [(&str, &str); 7] = [
    ("to", "self device dtype layout pin_memory other non_blocking copy memory_format"),
    ("type_as", "self other"),
    ("contiguous clone", "self memory_format"),
    ("transpose", "self dim0 dim1"),
    ("_weight_norm", "v g dim"),
    ("tensor", "data dtype device requires_grad"),
    ("as_tensor", "data dtype device"),
];

/// Returns the parameters of a function, of which an underscore at the end is the variant in place; `None` if they are
/// unknown.
pub fn parameters(function: &str) -> Option<Vec<&'static str>> {
    let base = function.strip_suffix('_').filter(|base| !base.starts_with("__")).unwrap_or(function);
    let mut known = SIGNATURES.iter().chain(&CONVERSIONS);
    let found = known.find(|(names, _)| names.split(' ').any(|name| name == base));
    found.map(|(_, parameters)| parameters.split(' ').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_in_place_have_the_same_parameters() {
        assert_eq!(parameters("hardtanh_"), parameters("hardtanh"));
        assert_eq!(parameters("__is__").map(|names| names.len()), Some(2));
        assert_eq!(parameters("max"), None);
    }
}
