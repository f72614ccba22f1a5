// The sum of a text's rows, scaled to unit length: what the mean of them is after scaling.
// One workgroup per text; a lane sums whole columns, so that reads lie side by side.
//
// Prelude: WIDTH.

struct Batch { tokens: u32, texts: u32, first_text: u32 }

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> ends: array<u32>; // where each text of the chunk ends
@group(0) @binding(2) var<storage, read> hidden: array<vec4<f32>>; // [tokens][WIDTH / 4]
@group(0) @binding(3) var<storage, read_write> embeddings: array<vec4<f32>>; // [texts][WIDTH / 4]

var<workgroup> sums: array<vec4<f32>, WIDTH / 4>;
var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let text = group.x;
  var start = 0u;
  if (text > 0) {
    start = ends[text - 1];
  }
  let end = ends[text];
  var squares = 0.0;
  for (var column = lane; column < WIDTH / 4; column += 128) {
    var sum = vec4<f32>();
    for (var token = start; token < end; token += 1) {
      sum += hidden[token * (WIDTH / 4) + column];
    }
    sum /= f32(end - start);
    sums[column] = sum;
    squares += dot(sum, sum);
  }
  partial[lane] = squares;
  workgroupBarrier();
  for (var step = 64u; step > 0; step /= 2) {
    if (lane < step) {
      partial[lane] += partial[lane + step];
    }
    workgroupBarrier();
  }
  let length = max(sqrt(partial[0]), 1e-12);
  for (var column = lane; column < WIDTH / 4; column += 128) {
    embeddings[(batch.first_text + text) * (WIDTH / 4) + column] = sums[column] / length;
  }
}
