#include <cstdio>  // jpeglib.h needs it

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "diffract/core/error.h"
#include "diffract/io/exif.h"
#include "diffract/io/picture_formats.h"

namespace diffract::io {
namespace {

constexpr int kExifMarker = JPEG_APP0 + 1;
constexpr unsigned kMostMarkerBytes = 0xffff;
// A progressive picture may have any number of scans, and each takes the time of a whole picture.
constexpr int kMostScans = 500;

// libjpeg has no exceptions and must not be thrown through: it comes back by longjmp.
struct Jump {
  jpeg_error_mgr manager;
  std::jmp_buf buffer;
  char message[JMSG_LENGTH_MAX];
};

Jump& jump_of(j_common_ptr info) { return *reinterpret_cast<Jump*>(info->err); }

[[noreturn]] void fail(j_common_ptr info) {
  (*info->err->format_message)(info, jump_of(info).message);
  std::longjmp(jump_of(info).buffer, 1);
}

// Warnings are of damage that libjpeg draws over, as Pillow lets it; but a file that ends early is none.
void emit(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) fail(info);
}

void watch_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  std::strcpy(jump_of(info).message, "it has more than 500 scans");
  std::longjmp(jump_of(info).buffer, 1);
}

// One that frees what it has when it goes.
struct Decompress : jpeg_decompress_struct {
  Decompress() : jpeg_decompress_struct{} {}
  ~Decompress() { jpeg_destroy_decompress(this); }
  Decompress(const Decompress&) = delete;
  Decompress& operator=(const Decompress&) = delete;
};

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& source) : source_(source) {
    info_.err = jpeg_std_error(&jump_.manager);
    jump_.manager.error_exit = fail;
    jump_.manager.emit_message = emit;
    guarded(
        [](Reader& reader, const void* data, size_t size) {
          jpeg_create_decompress(&reader.info_);
          jpeg_mem_src(&reader.info_, static_cast<const unsigned char*>(data), size);
          jpeg_save_markers(&reader.info_, kExifMarker, kMostMarkerBytes);
          jpeg_read_header(&reader.info_, TRUE);
        },
        bytes.data(), bytes.size());
    check_picture_size(info_.image_width, info_.image_height, source_);
    progress_.progress_monitor = watch_scans;
    info_.progress = &progress_;
  }

  uint32_t width() const { return info_.image_width; }
  uint32_t height() const { return info_.image_height; }
  int orientation() const;
  /// As Pillow asks for it: grey stays grey, CMYK is not made RGB.
  uint32_t channels() const { return info_.num_components == 1 ? 1 : info_.num_components == 4 ? 4 : 3; }
  /// Rows of channels() bytes a pixel.
  std::vector<uint8_t> decode() {
    std::vector<uint8_t> rows(size_t{width()} * height() * channels());
    guarded(
        [](Reader& reader, const void* data, size_t) {
          jpeg_decompress_struct& info = reader.info_;
          info.out_color_space = info.num_components == 1   ? JCS_GRAYSCALE
                                 : info.num_components == 4 ? JCS_CMYK
                                                            : JCS_RGB;
          jpeg_start_decompress(&info);
          auto* to = const_cast<unsigned char*>(static_cast<const unsigned char*>(data));
          while (info.output_scanline < info.output_height) {
            JSAMPROW row = to + size_t{info.output_scanline} * info.output_width * reader.channels();
            jpeg_read_scanlines(&info, &row, 1);
          }
        },
        rows.data(), rows.size());
    return rows;
  }

 private:
  // Nothing with a destructor may be alive in `work` when it fails.
  void guarded(void (*work)(Reader& reader, const void* data, size_t size), const void* data, size_t size) {
    if (setjmp(jump_.buffer) != 0) throw UsageError("{}: not a sound JPEG: {}", source_, jump_.message);
    work(*this, data, size);
  }

  const std::string& source_;
  Decompress info_;
  jpeg_progress_mgr progress_{};
  Jump jump_{};
};

int Reader::orientation() const {
  constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  std::string exif;
  std::string_view xmp;
  for (auto* marker = info_.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with(kExif))
      exif += exif.empty() ? data : data.substr(kExif.size());  // it may be in parts
    if (data.starts_with(kXmp)) xmp = data;
  }
  const int orientation = exif_orientation(std::as_bytes(std::span(exif)));
  return orientation == 1 ? xmp_orientation(xmp) : orientation;
}

// Adobe's CMYK, the only one that is met, stores what is left of the light. Rounded as Pillow does.
void cmyk_to_rgb(const std::vector<uint8_t>& from, std::vector<uint8_t>& to) {
  const auto product = [](int a, int b) {
    const int scaled = a * b + 128;
    return ((scaled >> 8) + scaled) >> 8;
  };
  for (size_t i = 0; i < from.size() / 4; ++i) {
    const int light = from[4 * i + 3];
    for (size_t c = 0; c < 3; ++c)
      to[3 * i + c] = static_cast<uint8_t>(std::max(light - product(255 - from[4 * i + c], light), 0));
  }
}

}  // namespace

PictureHeader read_jpeg_header(std::span<const std::byte> bytes, const std::string& source) {
  const Reader reader(bytes, source);
  return {.width = reader.width(), .height = reader.height(), .orientation = reader.orientation()};
}

Image decode_jpeg_rgb(std::span<const std::byte> bytes, const std::string& source) {
  Reader reader(bytes, source);
  Image image{.width = reader.width(), .height = reader.height(), .pixels = reader.decode()};
  if (reader.channels() == 3) return image;
  const std::vector<uint8_t> stored = std::move(image.pixels);
  image.pixels.assign(size_t{image.width} * image.height * 3, 0);
  if (reader.channels() == 4) cmyk_to_rgb(stored, image.pixels);
  if (reader.channels() == 1)
    for (size_t i = 0; i < stored.size(); ++i) std::fill_n(image.pixels.data() + 3 * i, 3, stored[i]);
  return image;
}

}  // namespace diffract::io
