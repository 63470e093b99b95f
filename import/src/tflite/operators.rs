//! Codes of supported operators, and the names of all builtin operators for messages.

pub const ADD: i32 = 0;
pub const AVERAGE_POOL_2D: i32 = 1;
pub const CONCATENATION: i32 = 2;
pub const CONV_2D: i32 = 3;
pub const DEPTHWISE_CONV_2D: i32 = 4;
pub const DEQUANTIZE: i32 = 6;
pub const FULLY_CONNECTED: i32 = 9;
pub const LOGISTIC: i32 = 14;
pub const MUL: i32 = 18;
pub const RELU: i32 = 19;
pub const RELU_N1_TO_1: i32 = 20;
pub const RELU6: i32 = 21;
pub const RESHAPE: i32 = 22;
pub const SOFTMAX: i32 = 25;
pub const PAD: i32 = 34;
pub const TRANSPOSE: i32 = 39;
pub const MEAN: i32 = 40;
pub const SUB: i32 = 41;
pub const DIV: i32 = 42;
pub const SQUEEZE: i32 = 43;
pub const STRIDED_SLICE: i32 = 45;
pub const TOPK_V2: i32 = 48;
pub const LOG_SOFTMAX: i32 = 50;
pub const CAST: i32 = 53;
pub const MAXIMUM: i32 = 55;
pub const ARG_MAX: i32 = 56;
pub const MINIMUM: i32 = 57;
pub const PADV2: i32 = 60;
pub const TILE: i32 = 69;
pub const EXPAND_DIMS: i32 = 70;
pub const SHAPE: i32 = 77;
pub const PACK: i32 = 83;
pub const REVERSE_V2: i32 = 105;
pub const QUANTIZE: i32 = 114;
pub const BROADCAST_TO: i32 = 130;

/// `BuiltinOperator` of the schema
/// (<https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs>), in order of code.
const NAMES: &str = "\
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE \
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D \
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 \
    RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM \
    EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND \
    TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN \
    EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX \
    MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV \
    SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT \
    REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV \
    REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU \
    SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU \
    REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE \
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL \
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS \
    HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE \
    READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM \
    MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX \
    UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT";

/// Returns a name such as `CONV_2D`, or `operator 300` for a code beyond this list.
pub fn name(code: i32) -> String {
    let known = usize::try_from(code).ok().and_then(|at| NAMES.split_ascii_whitespace().nth(at));
    known.map_or_else(|| format!("operator {code}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_agree() {
        let pairs = [
            (ADD, "ADD"),
            (AVERAGE_POOL_2D, "AVERAGE_POOL_2D"),
            (CONCATENATION, "CONCATENATION"),
            (CONV_2D, "CONV_2D"),
            (FULLY_CONNECTED, "FULLY_CONNECTED"),
            (LOGISTIC, "LOGISTIC"),
            (SOFTMAX, "SOFTMAX"),
            (MEAN, "MEAN"),
            (STRIDED_SLICE, "STRIDED_SLICE"),
            (CAST, "CAST"),
            (PACK, "PACK"),
            (REVERSE_V2, "REVERSE_V2"),
            (LOG_SOFTMAX, "LOG_SOFTMAX"),
            (PADV2, "PADV2"),
            (TILE, "TILE"),
            (QUANTIZE, "QUANTIZE"),
            (BROADCAST_TO, "BROADCAST_TO"),
            (117, "HARD_SWISH"),
            (4000, "operator 4000"),
            (-1, "operator -1"),
        ];
        for (code, expected) in pairs {
            assert_eq!(name(code), expected);
        }
    }
}
