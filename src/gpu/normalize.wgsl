// Layer norm in place: every row of `hidden` to mean 0 and variance 1, then times gamma plus beta.
// A workgroup takes four rows, 16 lanes each; the variance is that of the centred values.
//
// Prelude: WIDTH, EPSILON.

struct Batch { tokens: u32, texts: u32, first_text: u32 }

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> gamma_beta: array<vec4<f32>>; // [2][WIDTH / 4]
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4<f32>>; // [tokens][WIDTH / 4]

var<workgroup> partial: array<f32, 64>;

// The sum of a value over the 16 lanes of a row.
fn row_sum(index: u32, value: f32) -> f32 {
  partial[index] = value;
  workgroupBarrier();
  for (var step = 8u; step > 0; step /= 2) {
    if (index % 16 < step) {
      partial[index] += partial[index + step];
    }
    workgroupBarrier();
  }
  let sum = partial[index / 16 * 16];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.x * 4 + index / 16;
  // Lanes past the last row work along on that row, and write nothing.
  let start = min(row, batch.tokens - 1) * (WIDTH / 4);
  let lane = index % 16;
  var sum = vec4<f32>();
  for (var column = lane; column < WIDTH / 4; column += 16) {
    sum += hidden[start + column];
  }
  let mean = row_sum(index, dot(sum, vec4<f32>(1))) / f32(WIDTH);
  var squares = 0.0;
  for (var column = lane; column < WIDTH / 4; column += 16) {
    let centred = hidden[start + column] - mean;
    squares += dot(centred, centred);
  }
  let scale = inverseSqrt(row_sum(index, squares) / f32(WIDTH) + EPSILON);
  if (row >= batch.tokens) {
    return;
  }
  for (var column = lane; column < WIDTH / 4; column += 16) {
    let centred = hidden[start + column] - mean;
    hidden[start + column] = centred * scale * gamma_beta[column] + gamma_beta[WIDTH / 4 + column];
  }
}
