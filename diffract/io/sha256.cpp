#include "diffract/io/sha256.h"

#include <nettle/sha2.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "diffract/core/error.h"

namespace diffract::io {
namespace {

class Digest {
 public:
  Digest() { nettle_sha256_init(&context_); }
  void add(const void* bytes, size_t size) {
    nettle_sha256_update(&context_, size, static_cast<const uint8_t*>(bytes));
  }
  std::string hex() {
    std::array<uint8_t, SHA256_DIGEST_SIZE> bytes;
    nettle_sha256_digest(&context_, bytes.size(), bytes.data());
    std::string text;
    for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
    return text;
  }

 private:
  sha256_ctx context_;
};

}  // namespace

std::string sha256_hex(std::span<const std::byte> bytes) {
  Digest digest;
  digest.add(bytes.data(), bytes.size());
  return digest.hex();
}

std::string sha256_of_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  Digest digest;
  std::vector<char> piece(1 << 18);
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    digest.add(piece.data(), static_cast<size_t>(in.gcount()));
  }
  if (!in.eof()) throw IoError("{}: cannot be read: {}", file.string(), std::strerror(errno));
  return digest.hex();
}

}  // namespace diffract::io
