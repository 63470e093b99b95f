// Classification by the nearest mean of embeddings.

/** Sharpness of the scores: the softmax of this times the cosine. */
const SHARPNESS = 30;

/** Means of the embeddings of some classes. */
export class Centroids {
  /** @param {number} count number of classes */
  constructor(count) {
    this.sums = Array.from({ length: count }, () => null);
    this.counts = new Array(count).fill(0);
  }

  /** Adds an example of a class. */
  add(at, embedding) {
    const unit = normalized(embedding);
    this.sums[at] ??= new Float64Array(unit.length);
    unit.forEach((value, index) => (this.sums[at][index] += value));
    this.counts[at] += 1;
  }

  /** A score for each class, 0 for those without examples; the others add up to 1. */
  scores(embedding) {
    const unit = normalized(embedding);
    const weights = this.sums.map((sum) => (sum ? Math.exp(SHARPNESS * (dot(unit, normalized(sum)) - 1)) : 0));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => (total > 0 ? weight / total : 0));
  }

  get isEmpty() {
    return this.counts.every((count) => count === 0);
  }
}

function dot(a, b) {
  return a.reduce((sum, value, index) => sum + value * b[index], 0);
}

/** The vector of length 1 in the same direction; zeros stay zeros. */
function normalized(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return Float64Array.from(vector, (value) => (length > 0 ? value / length : 0));
}
