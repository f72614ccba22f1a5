//! The encoder as a list of dispatches over buffers.

use wgpu::BufferUsages;

use crate::error::Result;

use super::device::Gpu;
use super::kernels::Kernels;
use super::plan::Chunk;
use super::weights::{Precision, Shape, Table, Weights};

/// The weights on the GPU, and the kernels that read them.
pub(super) struct Model {
    pub shape: Shape,
    kernels: Kernels,
    words: wgpu::Buffer,
    /// Position rows, then the scales of the word rows.
    table: wgpu::Buffer,
    norm: wgpu::Buffer,
    layers: Vec<Layer>,
}

struct Layer {
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: wgpu::Buffer,
    intermediate: Linear,
    output: Linear,
    output_norm: wgpu::Buffer,
}

struct Linear {
    weight: wgpu::Buffer,
    scale_bias: wgpu::Buffer,
}

impl Model {
    /// Sends the weights to the GPU.
    pub fn upload(gpu: &Gpu, file: &Weights, kernels: Kernels, precision: Precision) -> Result<Self> {
        let shape = file.shape.clone();
        let (width, inner) = (shape.width, shape.inner);
        let send = |bytes: &[u8]| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
            let buffer = gpu.buffer("weights", bytes.len().next_multiple_of(16) as u64, usage);
            gpu.queue.write_buffer(&buffer, 0, bytes);
            buffer
        };
        let send_floats = |floats: &[f32]| send(bytemuck::cast_slice(floats));
        let linear = |names: &[String], inputs, outputs| -> Result<Linear> {
            let Table { weight, scale } = file.linear(names, inputs, outputs, precision)?;
            Ok(Linear { weight: send(&weight), scale_bias: send_floats(&scale) })
        };
        let norm = |name: &str| file.norm(name).map(|norm| send_floats(&norm));
        let words = file.words(precision)?;
        let mut table = file.positions()?;
        table.extend(words.scale);
        let (words, table) = (send(&words.weight), send_floats(&table));
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let projections = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
            layers.push(Layer {
                query_key_value: linear(&projections, width, width)?,
                attention_output: linear(&[name("attention.output.dense")], width, width)?,
                attention_norm: norm(&name("attention.output.LayerNorm"))?,
                intermediate: linear(&[name("intermediate.dense")], width, inner)?,
                output: linear(&[name("output.dense")], inner, width)?,
                output_norm: norm(&name("output.LayerNorm"))?,
            });
            // What was written waits in staging memory until something is submitted.
            gpu.queue.submit([]);
        }
        Ok(Model { norm: norm("embeddings.LayerNorm")?, shape, kernels, words, table, layers })
    }
}

/// The buffers of a chunk, and what is to be done with them.
pub(super) struct Workspace {
    /// How many tokens there is room for in a chunk.
    pub tokens: usize,
    /// How many texts there is room for in a batch.
    pub texts: usize,
    pub embeddings: wgpu::Buffer,
    sizes: wgpu::Buffer,
    token_ids: wgpu::Buffer,
    ends: wgpu::Buffer,
    blocks: wgpu::Buffer,
    /// Those that only shaders see.
    inner: [wgpu::Buffer; 3],
    /// What each step binds, in the order of [`Workspace::encode`].
    bound: Vec<wgpu::BindGroup>,
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Browsers would keep the memory until their garbage is collected. What was submitted still has it.
        let inputs = [&self.sizes, &self.token_ids, &self.ends, &self.blocks, &self.embeddings];
        inputs.into_iter().chain(&self.inner).for_each(wgpu::Buffer::destroy);
    }
}

impl Workspace {
    pub fn new(gpu: &Gpu, model: &Model, tokens: usize, texts: usize) -> Self {
        let Model { shape, kernels, .. } = model;
        let buffer = |label: &str, bytes: usize, usage: BufferUsages| gpu.buffer(label, bytes as u64, usage);
        let input = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let sizes = buffer("sizes", 16, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
        let token_ids = buffer("tokens", tokens * 8, input);
        let ends = buffer("ends", tokens * 4, input);
        let blocks = buffer("attention blocks", tokens * 16, input);
        let embeddings =
            buffer("embeddings", texts * shape.width * 4, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let short = if gpu.f16 { 2 } else { 4 };
        let hidden = buffer("hidden", tokens * shape.width * 4, BufferUsages::STORAGE);
        let context = buffer("context", tokens * shape.width * short, BufferUsages::STORAGE);
        // Holds queries, keys and values, then what is between the two layers of a feed-forward block.
        let between = tokens * shape.inner.max(3 * shape.width) * short;
        let between = buffer("between", between, BufferUsages::STORAGE);

        let mut bound = Vec::new();
        let mut bind = |read: &[&wgpu::Buffer], written: &wgpu::Buffer| {
            let buffers = [&sizes].into_iter().chain(read.iter().copied()).chain([written]);
            let entries: Vec<_> = (0..)
                .zip(buffers)
                .map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                })
                .collect();
            let layout = &kernels.layouts[read.len()];
            bound.push(gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &entries,
            }));
        };
        bind(&[&token_ids, &model.words, &model.table], &hidden);
        bind(&[&model.norm], &hidden);
        for layer in &model.layers {
            let Layer { query_key_value: qkv, attention_output, intermediate, output, .. } = layer;
            bind(&[&hidden, &qkv.weight, &qkv.scale_bias], &between);
            bind(&[&blocks, &between], &context);
            bind(&[&context, &attention_output.weight, &attention_output.scale_bias], &hidden);
            bind(&[&layer.attention_norm], &hidden);
            bind(&[&hidden, &intermediate.weight, &intermediate.scale_bias], &between);
            bind(&[&between, &output.weight, &output.scale_bias], &hidden);
            bind(&[&layer.output_norm], &hidden);
        }
        bind(&[&ends, &hidden], &embeddings);
        let inner = [hidden, context, between];
        Workspace { tokens, texts, embeddings, sizes, token_ids, ends, blocks, inner, bound }
    }

    /// Sends a chunk's ids and layout; what was submitted before still sees those before.
    pub fn write(&self, gpu: &Gpu, chunk: &Chunk) {
        let write = |buffer, values: &[u8]| gpu.queue.write_buffer(buffer, 0, values);
        let sizes = [chunk.tokens.len() as u32, chunk.ends.len() as u32, chunk.first_text, 0];
        write(&self.sizes, bytemuck::cast_slice(&sizes));
        write(&self.token_ids, bytemuck::cast_slice(&chunk.tokens));
        write(&self.ends, bytemuck::cast_slice(&chunk.ends));
        write(&self.blocks, bytemuck::cast_slice(&chunk.blocks));
    }

    /// The whole encoder over the chunk that was written.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, model: &Model, chunk: &Chunk) {
        let kernels = &model.kernels;
        let (tokens, texts) = (chunk.tokens.len() as u32, chunk.ends.len() as u32);
        let pairs_of_heads = (model.shape.heads as u32).div_ceil(2);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut bound = self.bound.iter();
        let mut step = |(pipeline, [across, down]): (&wgpu::ComputePipeline, [u32; 2])| {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bound.next(), &[]);
            pass.dispatch_workgroups(across, down, 1);
        };
        let rows = [tokens.div_ceil(4), 1];
        step((&kernels.embed, [tokens, 1]));
        step((&kernels.normalize, rows));
        for _ in &model.layers {
            step(kernels.query_key_value.choose(tokens));
            step((&kernels.attention, [chunk.blocks.len() as u32, pairs_of_heads]));
            step(kernels.attention_output.choose(tokens));
            step((&kernels.normalize, rows));
            step(kernels.intermediate.choose(tokens));
            step(kernels.output.choose(tokens));
            step((&kernels.normalize, rows));
        }
        step((&kernels.pool, [texts, 1]));
    }
}
