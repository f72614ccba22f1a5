// context = softmax(Q Kᵀ / √32) V for each text and head, in one pass over the keys (online softmax: the
// largest score so far, the sum of the exponentials relative to it, and their sum of values).
//
// A workgroup takes up to 32 queries of one text for two heads; each of its 64 lanes has one query and
// one head. Keys and values go through workgroup memory KEYS at a time. All lanes of a head read the
// same key at once, which is one broadcast.
//
// Prelude: WIDTH, HEADS; num4. A head has 32 dimensions, 8 vectors.

const KEYS = 16u;

@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>; // (first query, text's start, text's end, 0)
@group(0) @binding(2) var<storage, read> qkv: array<num4>; // [tokens][3][WIDTH / 4]
@group(0) @binding(3) var<storage, read_write> context: array<num4>; // [tokens][WIDTH / 4]

// A row of one head.
struct Row { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32> }

// [KEYS][two heads][8]
var<workgroup> keys: array<vec4<f32>, KEYS * 16>;
var<workgroup> values: array<vec4<f32>, KEYS * 16>;

fn score(q: Row, at: u32) -> f32 {
  // Products are added up by component first: one sum across components for all 32 dimensions.
  var sum = q.a * keys[at];
  sum += q.b * keys[at + 1];
  sum += q.c * keys[at + 2];
  sum += q.d * keys[at + 3];
  sum += q.e * keys[at + 4];
  sum += q.f * keys[at + 5];
  sum += q.g * keys[at + 6];
  sum += q.h * keys[at + 7];
  return (sum.x + sum.y) + (sum.z + sum.w);
}

// The sum over four keys of a weight times column `at` of their values.
fn weighted(p: vec4<f32>, at: u32) -> vec4<f32> {
  return p.x * values[at] + p.y * values[at + 16] + p.z * values[at + 32] + p.w * values[at + 48];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let block = blocks[group.x];
  let head = group.y * 2 + index / 32;
  let query = block.x + index % 32;
  let end = block.z;
  let writes = query < end && head < HEADS;

  // Idle lanes compute along on something that exists.
  let own_query = min(query, end - 1) * (3 * WIDTH / 4) + min(head, HEADS - 1) * 8;
  let by = 0.17677669529663687; // 1 / √32
  let q = Row(
    by * vec4<f32>(qkv[own_query]), by * vec4<f32>(qkv[own_query + 1]), by * vec4<f32>(qkv[own_query + 2]), by * vec4<f32>(qkv[own_query + 3]),
    by * vec4<f32>(qkv[own_query + 4]), by * vec4<f32>(qkv[own_query + 5]), by * vec4<f32>(qkv[own_query + 6]), by * vec4<f32>(qkv[own_query + 7]),
  );

  var largest = -1e30;
  var total = 0.0;
  var sum = Row();
  let pair = group.y * 16; // where the two heads start in a row
  let own = index / 32 * 8; // where this lane's head is in a row of the tiles
  for (var first = block.y; first < end; first += KEYS) {
    workgroupBarrier();
    for (var i = index; i < KEYS * 16; i += 64) {
      let token = first + i / 16;
      let column = pair + i % 16;
      var key = vec4<f32>();
      var value = vec4<f32>();
      if (token < end && column < WIDTH / 4) {
        let at = token * (3 * WIDTH / 4) + column;
        key = vec4<f32>(qkv[at + WIDTH / 4]);
        value = vec4<f32>(qkv[at + WIDTH / 2]);
      }
      keys[i] = key;
      values[i] = value;
    }
    workgroupBarrier();
    for (var four = 0u; four < KEYS && first + four < end; four += 4) {
      let at = four * 16 + own;
      let s = vec4<f32>(score(q, at), score(q, at + 16), score(q, at + 32), score(q, at + 48));
      let missing = vec4<u32>(first + four) + vec4<u32>(0, 1, 2, 3) >= vec4<u32>(end);
      let scores = select(s, vec4<f32>(-1e30), missing);
      let larger = max(largest, max(max(scores.x, scores.y), max(scores.z, scores.w)));
      let shrink = exp(largest - larger);
      let p = exp(scores - larger);
      largest = larger;
      total = total * shrink + dot(p, vec4<f32>(1));
      sum.a = sum.a * shrink + weighted(p, at);
      sum.b = sum.b * shrink + weighted(p, at + 1);
      sum.c = sum.c * shrink + weighted(p, at + 2);
      sum.d = sum.d * shrink + weighted(p, at + 3);
      sum.e = sum.e * shrink + weighted(p, at + 4);
      sum.f = sum.f * shrink + weighted(p, at + 5);
      sum.g = sum.g * shrink + weighted(p, at + 6);
      sum.h = sum.h * shrink + weighted(p, at + 7);
    }
  }
  if (writes) {
    let to = query * (WIDTH / 4) + head * 8;
    context[to] = num4(sum.a / total);
    context[to + 1] = num4(sum.b / total);
    context[to + 2] = num4(sum.c / total);
    context[to + 3] = num4(sum.d / total);
    context[to + 4] = num4(sum.e / total);
    context[to + 5] = num4(sum.f / total);
    context[to + 6] = num4(sum.g / total);
    context[to + 7] = num4(sum.h / total);
  }
}
