// hidden = word row + position row, before its layer norm. One workgroup per token.
//
// Prelude: WIDTH, POSITIONS; stored4 and widen() for the word table.

struct Batch { tokens: u32, texts: u32, first_text: u32 }

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>; // (id, position in its text)
@group(0) @binding(2) var<storage, read> words: array<stored4>; // [words][WIDTH / 4]
// Position rows [POSITIONS][WIDTH / 4], then the scales of the word rows, four to an element.
@group(0) @binding(3) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>; // [tokens][WIDTH / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = tokens[group.x];
  let scale = table[POSITIONS * (WIDTH / 4) + token.x / 4][token.x % 4];
  for (var column = lane; column < WIDTH / 4; column += 64) {
    let word = widen(words[token.x * (WIDTH / 4) + column]) * scale;
    hidden[group.x * (WIDTH / 4) + column] = word + table[token.y * (WIDTH / 4) + column];
  }
}
