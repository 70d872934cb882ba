#include "formats/zip_writer.h"

#include <zip.h>

#include "support/error.h"
#include "support/output_file.h"

namespace outboard::formats {

void write_zip(const std::filesystem::path& path, std::vector<ZipInput> members) {
  OutputFile output(path);
  const std::filesystem::path packed = output.free_name();  // libzip writes to a path
  int code = 0;
  std::unique_ptr<zip_t, decltype(&zip_discard)> opened(
      zip_open(packed.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code), &zip_discard);
  if (!opened) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string why = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail("write {}: {}", path.string(), why);
  }
  zip_t* archive = opened.get();
  const auto refuse = [&] { fail("write {}: {}", path.string(), zip_strerror(archive)); };
  for (ZipInput& member : members) {
    std::FILE* file = member.file.release();  // the source closes it
    zip_source_t* source =
        file != nullptr ? zip_source_filep(archive, file, 0, -1)
                        : zip_source_buffer(archive, member.bytes.data(), member.bytes.size(), 0);
    if (source == nullptr) {
      member.file.reset(file);
      refuse();
    }
    if (zip_file_add(archive, member.name.c_str(), source, ZIP_FL_ENC_UTF_8) < 0) {
      zip_source_free(source);
      refuse();
    }
  }
  archive = opened.release();
  if (zip_close(archive) != 0) {
    opened.reset(archive);  // it is still open
    refuse();
  }
  output.take(packed);
  output.finish();
}

}  // namespace outboard::formats
