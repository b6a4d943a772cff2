#include "diffract/loading/load_fields.h"

#include "diffract/core/error.h"
#include "diffract/loading/addition_files.h"
#include "diffract/loading/component_files.h"
#include "diffract/loading/controlnet.h"
#include "diffract/loading/image_encoder.h"

namespace diffract::loading {
namespace {

using Kind = LoadField::Kind;
using Scope = LoadField::Scope;

// "--vae FILE": the field's name is the component's.
template <const char* kComponent>
void set_component(LoadOptions& options, const std::string& text, int) {
  if (!text.empty()) options.components[kComponent] = text;
}
constexpr char kUnet[] = "unet", kTransformer[] = "transformer", kVae[] = "vae",
               kTextEncoder[] = "text_encoder", kTextEncoder2[] = "text_encoder_2";

template <const char* kComponent>
constexpr LoadField component_field(const char* help) {
  return {kComponent,          help, Kind::path, Scope::images, nullptr, set_component<kComponent>,
          component_parameters};
}

constexpr LoadField kFields[] = {
    {"dtype", "Type of the weights: float32, float16, bfloat16; default: as stored", Kind::dtype,
     Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) { o.torch_dtype = tensor::parse_dtype(text); }},
    {"float8", "FLUX on a GPU: large products in float8, faster and less exact; with --dtype bfloat16",
     Kind::flag, Scope::images, nullptr, [](LoadOptions& o, const std::string&, int) { o.float8 = true; }},
    {"allow_tf32", "float32 on a GPU: products and convolutions in TF32 (10 bits), faster and less exact",
     Kind::flag, Scope::images, nullptr,
     [](LoadOptions& o, const std::string&, int) { o.allow_tf32 = true; }},
    {"compute_dtype",
     "Type used for computation; default: --dtype where the device is fast in it, else float32", Kind::dtype,
     Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) { o.arithmetic = tensor::parse_dtype(text); }},
    {"variant", "Weight files' variant, e.g. fp16", Kind::text, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) { o.variant = text; }},
    {"config",
     "For a model that is a single file: the folder, or ORG/NAME, of its configs and tokenizers; default: "
     "told "
     "by the file's keys, and found in the Hugging Face cache",
     Kind::path, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) { o.config = text; }, config_parameters},
    component_field<kVae>("Another VAE: a safetensors file, a folder or ORG/NAME"),
    component_field<kUnet>("Another UNet, as --vae"),
    component_field<kTransformer>("Another transformer, as --vae"),
    component_field<kTextEncoder>("Another text encoder, as --vae"),
    component_field<kTextEncoder2>("Another second text encoder, as --vae"),
    {"lora",
     "A LoRA to add: a safetensors file, a folder or ORG/NAME, and =WEIGHT behind it; may be given several "
     "times",
     Kind::paths, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) {
       for (const std::string& line : lines_of(text)) o.lora.push_back(parse_lora(line));
     },
     lora_parameters},
    {"textual_inversion",
     "An embedding for a token of the prompts: a safetensors file, and =TOKEN for another token than its "
     "own; may "
     "be given several times",
     Kind::paths, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) {
       for (const std::string& line : lines_of(text))
         o.textual_inversion.push_back(parse_textual_inversion(line));
     },
     textual_inversion_parameters},
    {"ip_adapter",
     "An IP-Adapter, which makes pictures a part of the prompt: a safetensors file, a folder or ORG/NAME; "
     "may "
     "be given several times",
     Kind::paths, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) {
       for (const std::string& line : lines_of(text)) o.ip_adapter.push_back({.path = line});
     },
     ip_adapter_parameters},
    {"ip_adapter_image_encoder",
     "The CLIP vision model of the IP-Adapters: a folder or ORG/NAME; default: the checkpoint's, or the "
     "folder "
     "image_encoder beside the IP-Adapter",
     Kind::path, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) { set_image_encoder(o, text); },
     image_encoder_parameters},
    {"no_safety_checker",
     "Leave the checkpoint's safety checker out, which makes pictures black that it holds back", Kind::flag,
     Scope::images, nullptr, [](LoadOptions& o, const std::string&, int) { o.safety_checker = false; }},
    {"controlnet",
     "A ControlNet, which follows --control-image: a folder or ORG/NAME; may be given several times",
     Kind::paths, Scope::images, nullptr,
     [](LoadOptions& o, const std::string& text, int) { o.controlnet = lines_of(text); },
     controlnet_parameters},
    {"preview_vae",
     "For --preview-every: the folder, or ORG/NAME, of a quicker VAE than the model's, as TAESD", Kind::path,
     Scope::process, nullptr, [](LoadOptions& o, const std::string& text, int) { o.preview_vae = text; }},
    {"device", "cpu, cuda (in a job: each process its own) or cuda:N", Kind::text, Scope::process, "cpu",
     [](LoadOptions& o, const std::string& text, int local_rank) {
       o.device = tensor::parse_device(text, local_rank);
     }},
    {"device_map",
     "Spread the models over devices, CPU memory and disk: auto, balanced, balanced_low_0, sequential, a "
     "device, or FILE.json with a map; over the processes of a job: ranks, or a map that names rank:0, "
     "rank:1, ...",
     Kind::path, Scope::placement, nullptr,
     [](LoadOptions& o, const std::string& text, int) {
       if (!text.empty()) o.device_map = text;
     }},
    {"max_memory",
     "Budgets, e.g. 0=16GB,1=16GB,cpu=30GB: of an accelerator a hard limit; of the CPU for weights and "
     "activations, beside the program's own 0.2 GB. Or of processes: rank:0=16GB,rank:1=8GB",
     Kind::text, Scope::placement, nullptr,
     [](LoadOptions& o, const std::string& text, int) {
       if (!text.empty()) o.max_memory = placement::MaxMemory::parse(text);
     }},
    {"no_memory_check",
     "Try images that take more memory than is free, too: they may end this process or others", Kind::flag,
     Scope::process, nullptr,
     [](LoadOptions& o, const std::string&, int) { o.memory_check.refuses = false; }},
    {"offload_folder", "For weights that stay on disk and are used in another type than their files have",
     Kind::path, Scope::process, nullptr,
     [](LoadOptions& o, const std::string& text, int) { o.offload_folder = text; }},
};

}  // namespace

std::span<const LoadField> load_fields() { return kFields; }

const LoadField& load_field(std::string_view name) {
  for (const LoadField& field : kFields)
    if (name == field.name) return field;
  throw InternalError("load_fields: has no \"{}\"", name);
}

LoadOptions load_options(const LoadTexts& given, int local_rank) {
  LoadOptions options;
  for (const auto& [name, text] : given) load_field(name).set(options, text, local_rank);
  return options;
}

Json load_parameters(const LoadTexts& given, LoadField::Scope scope) {
  Json parameters = Json::object();
  for (const LoadField& field : kFields)
    if (const auto text = given.find(field.name); field.scope == scope && text != given.end()) {
      if (field.parameters)
        parameters[field.name] = field.parameters(text->second);
      else if (field.kind == Kind::flag)
        parameters[field.name] = true;
      else if (!text->second.empty())
        parameters[field.name] = text->second;
    }
  return parameters;
}

std::string given_text(const LoadTexts& given, const char* name) {
  const auto found = given.find(name);
  return found == given.end() ? "" : found->second;
}

}  // namespace diffract::loading
