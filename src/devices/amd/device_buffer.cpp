#include "devices/amd/device_buffer.h"

namespace outboard::devices::amd {

DeviceBuffer::DeviceBuffer(driver::Card& card, uint64_t bytes, std::string name)
    : owned_(std::make_unique<driver::Buffer>(card.memory().allocate(bytes, std::move(name)))
                 .release(),
             Free{&card}) {}

void DeviceBuffer::Free::operator()(driver::Buffer* buffer) const {
  const std::unique_ptr<driver::Buffer> owned(buffer);
  try {
    card->memory().free(*owned);
  } catch (const std::exception&) {  // the link is gone, and the page tables with it
  }
}

SystemPiece::SystemPiece(driver::Card& card, uint64_t bytes, std::string name)
    : owned_(std::make_unique<driver::SystemBuffer>(card.share(bytes, std::move(name))).release(),
             Give{&card}) {}

void SystemPiece::Give::operator()(driver::SystemBuffer* buffer) const {
  const std::unique_ptr<driver::SystemBuffer> owned(buffer);
  card->unshare(*owned);
}

}  // namespace outboard::devices::amd
