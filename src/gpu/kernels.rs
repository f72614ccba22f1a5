//! The shaders, compiled for one encoder: sizes are constants in them, and formats names of types.

use wgpu::{BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages};

use crate::error::Result;

use super::device::{Gpu, limits_error};
use super::weights::{HEAD, Precision, Shape};

/// Lanes of the small matrix kernel's workgroups; no kernel needs more than [`LEAST_LANES`] without a lesser choice.
const LEAST_LANES: u32 = 128;

/// Workgroups of the large matrix kernel from which on a GPU is filled by them; smaller products are cut finer.
const ENOUGH_TILES: u32 = 64;

/// A matrix kernel's tile: its side, and bytes of workgroup memory for each byte of a number.
#[derive(Clone, Copy)]
struct Tile {
    side: u32,
    wide: bool,
}

const SMALL: Tile = Tile { side: 32, wide: false };
const LARGE: Tile = Tile { side: 128, wide: true };

impl Tile {
    fn lanes(self) -> u32 {
        2 * self.side
    }

    fn memory(self, f16: bool) -> u32 {
        2 * 16 * self.side * if f16 { 2 } else { 4 }
    }

    fn fits(self, gpu: &Gpu) -> bool {
        let limits = &gpu.limits;
        self.lanes() <= limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x)
            && self.memory(gpu.f16) <= limits.max_compute_workgroup_storage_size
    }
}

/// `y = x Wᵀ scale + bias` for one shape, in tiles of one or two sizes.
pub(super) struct Matmul {
    outputs: u32,
    small: wgpu::ComputePipeline,
    large: Option<wgpu::ComputePipeline>,
}

impl Matmul {
    /// The pipeline for so many rows, and its workgroups across and down.
    pub fn choose(&self, rows: u32) -> (&wgpu::ComputePipeline, [u32; 2]) {
        let tiles = |tile: Tile| [self.outputs / tile.side, rows.div_ceil(tile.side)];
        let [across, down] = tiles(LARGE);
        match &self.large {
            Some(large) if across * down >= ENOUGH_TILES => (large, [across, down]),
            _ => (&self.small, tiles(SMALL)),
        }
    }
}

/// The kernels of an encoder, and the layouts of their bindings: a uniform, so many read-only buffers as the
/// index says, and one that is written.
pub(super) struct Kernels {
    pub embed: wgpu::ComputePipeline,
    pub normalize: wgpu::ComputePipeline,
    pub attention: wgpu::ComputePipeline,
    pub pool: wgpu::ComputePipeline,
    pub query_key_value: Matmul,
    pub attention_output: Matmul,
    pub intermediate: Matmul,
    pub output: Matmul,
    pub layouts: [wgpu::BindGroupLayout; 4],
}

/// What a matrix product does beside multiplying.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Epilogue {
    /// Writes short numbers.
    Write,
    /// GELU, then writes short numbers.
    Gelu,
    /// Adds to the hidden states.
    Add,
}

impl Kernels {
    /// Compiles the kernels, or fails where the smallest of them is beyond the device's limits.
    pub fn new(gpu: &Gpu, shape: &Shape, precision: Precision) -> Result<Self> {
        let Shape { width, inner, .. } = *shape;
        let limits = &gpu.limits;
        let lanes = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        // Attention's keys and values; pooling's sums.
        let memory = (2 * 16 * 16 * 16).max(width as u32 * 4 + LEAST_LANES * 4).max(SMALL.memory(gpu.f16));
        if lanes < LEAST_LANES || limits.max_compute_workgroup_storage_size < memory {
            return Err(limits_error(format!(
                "workgroups of {lanes} with {} bytes are too small: {LEAST_LANES} and {memory} are needed",
                limits.max_compute_workgroup_storage_size
            )));
        }
        let builder = Builder { gpu, layouts: std::array::from_fn(|reads| layout(gpu, reads)), precision };
        let width_const = format!("const WIDTH = {width}u;\n");
        let heads = format!("{width_const}const HEADS = {}u;\n", width / HEAD);
        let epsilon = format!("{width_const}const EPSILON = {:e};\n", shape.epsilon);
        let positions = format!("{width_const}const POSITIONS = {}u;\n", shape.positions);
        let short = if gpu.f16 { "num4" } else { "vec4<f32>" };
        let float = "vec4<f32>";
        Ok(Kernels {
            embed: builder.pipeline("embed", 3, &positions, include_str!("embed.wgsl")),
            normalize: builder.pipeline("normalize", 1, &epsilon, include_str!("normalize.wgsl")),
            attention: builder.pipeline("attention", 2, &heads, include_str!("attention.wgsl")),
            pool: builder.pipeline("pool", 2, &width_const, include_str!("pool.wgsl")),
            query_key_value: builder.matmul("query, key, value", [3 * width, width], float, Epilogue::Write),
            attention_output: builder.matmul("attention output", [width, width], short, Epilogue::Add),
            intermediate: builder.matmul("intermediate", [inner, width], float, Epilogue::Gelu),
            output: builder.matmul("output", [width, inner], short, Epilogue::Add),
            layouts: builder.layouts,
        })
    }
}

fn layout(gpu: &Gpu, reads: usize) -> wgpu::BindGroupLayout {
    let entry = |binding, ty| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let written = reads as u32 + 1;
    let entries: Vec<_> = (0..=written)
        .map(|binding| match binding {
            0 => entry(binding, BufferBindingType::Uniform),
            _ => entry(binding, BufferBindingType::Storage { read_only: binding < written }),
        })
        .collect();
    gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
}

struct Builder<'a> {
    gpu: &'a Gpu,
    layouts: [wgpu::BindGroupLayout; 4],
    precision: Precision,
}

impl Builder<'_> {
    /// A shader after the constants and types that it names.
    fn pipeline(&self, label: &str, reads: usize, constants: &str, shader: &str) -> wgpu::ComputePipeline {
        let device = &self.gpu.device;
        let short = if self.gpu.f16 { "f16" } else { "f32" };
        let (enable, stored, wide) = match (self.gpu.f16, self.precision) {
            (false, Precision::Int8) => ("", "u32", "unpack4x8snorm(v)"),
            (true, Precision::Int8) => ("enable f16;\n", "u32", "unpack4x8snorm(v)"),
            (false, _) => ("", "num4", "v"),
            (true, _) => ("enable f16;\n", "num4", "vec4<f32>(v)"),
        };
        let source = format!(
            "{enable}alias num4 = vec4<{short}>;\nalias stored4 = {stored};\n\
             fn widen(v: stored4) -> vec4<f32> {{ return {wide}; }}\n{constants}{shader}"
        );
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(&self.layouts[reads])],
            ..Default::default()
        });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        })
    }

    fn matmul(&self, label: &str, [outputs, inputs]: [usize; 2], from: &str, epilogue: Epilogue) -> Matmul {
        let to = if epilogue == Epilogue::Add { "vec4<f32>" } else { "num4" };
        let (mixed, swizzle) = if self.gpu.f16 { (true, 4) } else { (false, 2) };
        let (gelu, add) = (epilogue == Epilogue::Gelu, epilogue == Epilogue::Add);
        let pipeline = |Tile { side, wide }| {
            let constants = format!(
                "alias math4 = num4;\nalias in4 = {from};\nalias out4 = {to};\n\
                 const N = {outputs}u;\nconst K = {inputs}u;\nconst TILE_M = {side}u;\nconst TILE_N = {side}u;\n\
                 const WIDE = {wide};\nconst MIXED = {mixed};\nconst SWIZZLE = {swizzle}u;\n\
                 const GELU = {gelu};\nconst ADD = {add};\n"
            );
            self.pipeline(label, 3, &constants, include_str!("matmul.wgsl"))
        };
        let large = LARGE.fits(self.gpu) && outputs.is_multiple_of(LARGE.side as usize);
        Matmul { outputs: outputs as u32, small: pipeline(SMALL), large: large.then(|| pipeline(LARGE)) }
    }
}
