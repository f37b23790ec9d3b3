"""From a network, a device and a runtime to a report; many at once, or one."""
