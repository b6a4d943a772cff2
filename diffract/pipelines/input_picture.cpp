#include "diffract/pipelines/input_picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/user_path.h"
#include "diffract/io/picture.h"
#include "diffract/io/pixels.h"
#include "diffract/io/png.h"
#include "diffract/io/safetensors.h"
#include "diffract/io/sha256.h"
#include "diffract/weights/checkpoint.h"

namespace diffract::pipelines {
namespace {

constexpr const char* kLatents = "latents";

// The file is the user's, not a model's.
template <typename Work>
auto as_usage_error(Work&& work) {
  try {
    return work();
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());
  }
}

std::string digest_of(std::string_view bytes) { return io::sha256_hex(std::as_bytes(std::span(bytes))); }

// [rows, C, h, w]
at::Tensor read_latents(std::string_view file, const std::string& name) {
  return as_usage_error([&] {
    const auto bytes = std::as_bytes(std::span(file));
    const io::SafetensorsHeader header = io::parse_safetensors_header(bytes, name);
    const auto info = std::find_if(header.tensors.begin(), header.tensors.end(),
                                   [](const auto& tensor) { return tensor.name == kLatents; });
    if (info == header.tensors.end())
      throw UsageError("{}: has no tensor \"{}\"; expected latents as --output-type latent writes them", name,
                       kLatents);
    const std::string where = fmt::format("{}: \"{}\"", name, kLatents);
    const std::vector<int64_t> shape(info->shape.begin(), info->shape.end());
    at::Tensor stored = at::empty(shape, weights::scalar_type(info->dtype, where));
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(header.data_begin + info->begin), stored.nbytes(),
                static_cast<std::byte*>(stored.data_ptr()));
    if (stored.dim() != 4 || stored.numel() == 0)
      throw UsageError("{}: has shape {}; expected [images, channels, height, width]", where,
                       c10::str(stored.sizes()));
    at::Tensor latents = stored.to(at::kFloat);
    if (!at::isfinite(latents).all().item<bool>())
      throw UsageError("{}: has values that are not finite", where);
    return latents;
  });
}

}  // namespace

struct InputPicture::Content {
  std::string name, digest;
  int64_t width = 0, height = 0;
  int64_t latent_rows = 0;
  io::Image image = {};  // empty where it is in a file

  std::string read() const {
    std::string bytes = io::load_picture_bytes(name);
    if (digest_of(bytes) != digest)
      throw UsageError("{}: was changed after the request was made; make the request anew", name);
    return bytes;
  }
};

InputPicture::InputPicture(const std::filesystem::path& file) {
  Content content{.name = expand_home(file.string()), .digest = {}};
  const std::string bytes = io::load_picture_bytes(content.name);
  content.digest = digest_of(bytes);
  if (io::has_suffix(content.name, ".safetensors")) {
    const at::Tensor latents = read_latents(bytes, content.name);
    content.latent_rows = latents.size(0);
    content.height = latents.size(2);
    content.width = latents.size(3);
  } else {
    const auto header = io::read_picture_header(std::as_bytes(std::span(bytes)), content.name);
    content.width = header.shown_width();
    content.height = header.shown_height();
  }
  content_ = std::make_shared<const Content>(std::move(content));
}

InputPicture::InputPicture(io::Image image) {
  Content content{.name = "a picture", .digest = {}};
  io::check_picture_size(image.width, image.height, content.name);
  if ((image.channels != 3 && image.channels != 1) ||
      image.pixels.size() != uint64_t{image.width} * image.height * image.channels)
    throw UsageError("{}: {}x{} pixels with {} channels in {} bytes; expected 8-bit RGB or grey",
                     content.name, image.width, image.height, image.channels, image.pixels.size());
  content.width = image.width;
  content.height = image.height;
  content.digest = io::sha256_hex(std::as_bytes(std::span(image.pixels)));
  content.image = std::move(image);
  content_ = std::make_shared<const Content>(std::move(content));
}

const std::string& InputPicture::name() const { return content_->name; }

std::string InputPicture::hash() const {
  return "sha256:" + content_->digest + (row_ < 0 ? "" : fmt::format(" row {}", row_));
}

int64_t InputPicture::width() const { return content_->width; }
int64_t InputPicture::height() const { return content_->height; }
int64_t InputPicture::latent_rows() const { return row_ < 0 ? content_->latent_rows : 1; }

io::Image InputPicture::image() const {
  if (is_latents()) throw UsageError("{}: holds latents; expected a picture", name());
  if (!content_->image.pixels.empty()) return io::as_rgb(content_->image);
  const std::string bytes = content_->read();
  return io::decode_picture(std::as_bytes(std::span(bytes)), name());
}

at::Tensor InputPicture::latents() const {
  if (!is_latents()) throw UsageError("{}: is a picture; expected latents", name());
  const at::Tensor all = read_latents(content_->read(), name());
  return row_ < 0 ? all : all.narrow(0, row_, 1).clone();
}

InputPicture InputPicture::for_image(size_t i) const {
  InputPicture one = *this;
  if (content_->latent_rows > 1 && row_ < 0) one.row_ = static_cast<int64_t>(i);
  return one;
}

}  // namespace diffract::pipelines
