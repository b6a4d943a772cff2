#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl_facts.h"
#include "diffract/models/unet/unet_original_names.h"

namespace diffract::families {

std::vector<loading::LoraShare> stable_diffusion_xl_lora_shares(const std::string& module,
                                                                const ConfigReader& unet) {
  std::string name = models::unet_block_module(module, unet, '_');
  if (name.empty()) return {};
  return {{.module = std::move(name)}};
}

}  // namespace diffract::families
