#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "diffract/io/image.h"

namespace diffract::pipelines {

/// A picture that a request gives: a file of PNG, JPEG or WebP, a safetensors file with latents, or pixels.
/// Copies share what it holds. A file is read once for its hash and size, and again when its pixels are
/// needed, so that a job of thousands of pictures does not hold them all.
class InputPicture {
 public:
  /// Throws UsageError for a file that is missing, damaged, no picture or too large.
  InputPicture(const std::filesystem::path& file);
  InputPicture(const std::string& file) : InputPicture(std::filesystem::path(file)) {}
  InputPicture(const char* file) : InputPicture(std::filesystem::path(file)) {}
  /// 8-bit RGB or grey pixels. Throws UsageError for others.
  InputPicture(io::Image image);

  /// The file, or what stands for it in messages.
  const std::string& name() const;
  /// "sha256:" and the hash of the content: of two pictures the same, of one that was changed another.
  std::string hash() const;
  /// As it is shown; of latents in latents.
  int64_t width() const;
  int64_t height() const;

  /// 8-bit RGB, as diffusers.utils.load_image gives it. Throws UsageError where the file is no longer what it
  /// was, or holds latents.
  io::Image image() const;

  bool is_latents() const { return latent_rows() > 0; }
  /// How many latents the file has; 0 where it is a picture. Of for_image()'s 1.
  int64_t latent_rows() const;
  /// float32 [latent_rows(), C, h, w]. Throws UsageError as image() does.
  at::Tensor latents() const;
  /// What image `i` of a request gets: row `i` where there are several, else the same for all.
  InputPicture for_image(size_t i) const;

 private:
  struct Content;
  std::shared_ptr<const Content> content_;
  int64_t row_ = -1;  // all
};

}  // namespace diffract::pipelines
