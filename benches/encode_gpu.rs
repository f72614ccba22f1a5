//! The encoder on the GPU beside one large matrix product through the same API.
//!
//! `cargo bench --bench encode_gpu -- [TEXTS [TOKENS [SIZE]]]`, by default 512 texts of 128 tokens, and matrices
//! of 4096 × 4096. The encoders are those of `PENNYROUTE_ENCODER`, by default `models/train/out/encoder`, and of
//! the folder of the same name and `-float32`. One line of JSON: what each reached, in billions of
//! multiplications and additions a second, and the encoder as a share of the product of the same arithmetic.
//!
//! The product is the encoder's own kernel in its large tiles, without anything before or after it: f32
//! throughout, or f16 that is added up in f32.

use std::path::PathBuf;
use std::time::Instant;

use pennyroute::{Encoder, GpuEncoder, TokenBatch};
use pollster::block_on;
use wgpu::BufferUsages;

/// Seconds to repeat something for, after a first time that does not count.
const SECONDS: f64 = 3.0;

fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let texts = sizes.next().unwrap_or(512);
    let tokens = sizes.next().unwrap_or(128);
    let size = sizes.next().unwrap_or(4096);

    let (adapter, single) = block_on(product(size, false)).expect("an adapter");
    let half = block_on(product(size, true)).map(|(_, rate)| rate);
    let (f16, half_json) = (half.is_some(), half.map_or("null".to_owned(), |rate| format!("{rate:.1}")));
    let plain = half.unwrap_or(single);
    let encoders: Vec<String> = encoders().map(|folder| encode(&folder, texts, tokens, plain)).collect();
    println!(
        r#"{{"adapter":"{adapter}","f16":{f16},"size":{size},"product_gflops":{{"f32":{single:.1},"f16":{half_json}}},"texts":{texts},"tokens":{tokens},"encoders":[{}]}}"#,
        encoders.join(",")
    );
}

/// The folders of encoders that there are.
fn encoders() -> impl Iterator<Item = PathBuf> {
    let folder =
        std::env::var_os("PENNYROUTE_ENCODER").map_or("models/train/out/encoder".into(), PathBuf::from);
    let mut single = folder.clone().into_os_string();
    single.push("-float32");
    [folder, single.into()].into_iter().filter(|folder| folder.join("encoder.safetensors").exists())
}

/// Seconds that one call takes.
fn time(mut call: impl FnMut()) -> f64 {
    call();
    let (started, mut calls) = (Instant::now(), 0.0);
    while started.elapsed().as_secs_f64() < SECONDS {
        call();
        calls += 1.0;
    }
    started.elapsed().as_secs_f64() / calls
}

fn encode(folder: &std::path::Path, texts: u32, tokens: u32, plain: f64) -> String {
    let packed = std::fs::read(folder.join("encoder.safetensors")).expect("a packed encoder");
    let encoder = block_on(GpuEncoder::new(&packed)).expect("an encoder");
    let ids = (0..texts * tokens).map(|i| 1000 + i * 7919 % 20_000).collect();
    let batch = TokenBatch::new(ids, (1..=texts).map(|text| text * tokens).collect()).expect("a batch");
    let seconds = time(|| drop(block_on(encoder.embed(&batch)).expect("embeddings")));
    // all-MiniLM-L6-v2: per layer four products of 384², two of 384 × 1536, and attention over all tokens.
    let (width, layers) = (384.0, 6.0);
    let token = layers * (2.0 * (4.0 + 8.0) * width * width + 4.0 * f64::from(tokens) * width);
    let rate = f64::from(texts * tokens) * token / seconds / 1e9;
    format!(
        r#"{{"precision":"{}","ms":{:.2},"texts_per_s":{:.1},"gflops":{rate:.1},"of_product":{:.3}}}"#,
        encoder.precision().name(),
        seconds * 1e3,
        f64::from(texts) / seconds,
        rate / plain
    )
}

/// The adapter, and its rate in products of square matrices; none where it lacks what is asked for.
async fn product(size: u32, f16: bool) -> Option<(String, f64)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = instance.request_adapter(&options).await.ok()?;
    let features = if f16 { wgpu::Features::SHADER_F16 } else { wgpu::Features::empty() };
    let descriptor = wgpu::DeviceDescriptor { required_features: features, ..Default::default() };
    let (device, queue) = adapter.request_device(&descriptor).await.ok()?;
    let (enable, short, widened) =
        if f16 { ("enable f16;", "f16", "vec4<f32>(v)") } else { ("", "f32", "v") };
    let swizzle = if f16 { 4 } else { 2 };
    let source = format!(
        "{enable}\nalias num4 = vec4<{short}>;\nalias stored4 = num4;\nalias math4 = num4;\nalias in4 = num4;\n\
         alias out4 = num4;\nfn widen(v: num4) -> vec4<f32> {{ return {widened}; }}\n\
         const N = {size}u;\nconst K = {size}u;\nconst TILE_M = 128u;\nconst TILE_N = 128u;\nconst WIDE = true;\n\
         const MIXED = {f16};\nconst SWIZZLE = {swizzle}u;\nconst GELU = false;\nconst ADD = false;\n{}",
        include_str!("../src/gpu/matmul.wgsl")
    );
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    let buffer = |size: u64, usage| {
        let usage = usage | BufferUsages::COPY_DST;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let matrix = u64::from(size) * u64::from(size) * if f16 { 2 } else { 4 };
    let sizes = buffer(16, BufferUsages::UNIFORM);
    queue.write_buffer(&sizes, 0, bytemuck::cast_slice(&[size, 1, 0, 0]));
    let storage = BufferUsages::STORAGE;
    let bytes = [matrix, matrix, u64::from(size) * 8, matrix];
    let buffers: Vec<_> = [sizes].into_iter().chain(bytes.map(|bytes| buffer(bytes, storage))).collect();
    // Not zeros, which use less power: all of one small number.
    let number = if f16 { vec![0x2e, 0x2e] } else { 0.1f32.to_le_bytes().to_vec() };
    for buffer in &buffers[1..3] {
        queue.write_buffer(buffer, 0, &number.repeat(matrix as usize / number.len()));
    }
    let entries: Vec<_> = (0..)
        .zip(&buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = &pipeline.get_bind_group_layout(0);
    let bound =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
    // Several products in one submission, as many as an encoder's layers have.
    let products = 24;
    let seconds = time(|| {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bound, &[]);
        for _ in 0..products {
            pass.dispatch_workgroups(size / 128, size / 128, 1);
        }
        drop(pass);
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).expect("the device computes");
    });
    let operations = 2.0 * f64::from(products) * f64::from(size).powi(3);
    Some((adapter.get_info().name, operations / seconds / 1e9))
}
