"""The machine: what the silicon can do, read from ``hardware_specs/*.toml``."""

from roofline.device.load import device, devices
from roofline.device.silicon import MatrixRate, MatrixUnit, MemoryLevel, QuantityRecord, VectorUnit
from roofline.device.spec import Device

__all__ = ["Device", "MatrixRate", "MatrixUnit", "MemoryLevel", "QuantityRecord", "VectorUnit", "device", "devices"]
