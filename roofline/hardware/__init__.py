"""The machine: what the silicon can do, read from ``hardware_specs/*.toml``."""

from roofline.hardware.load import device, devices
from roofline.hardware.silicon import MatrixRate, MatrixUnit, MemoryLevel, QuantityRecord, VectorUnit
from roofline.hardware.spec import Device

__all__ = ["Device", "MatrixRate", "MatrixUnit", "MemoryLevel", "QuantityRecord", "VectorUnit", "device", "devices"]
