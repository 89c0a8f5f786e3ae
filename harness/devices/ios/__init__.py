"""iPhones and iPads through Appium's XCUITest driver: Safari, and apps with a Core ML model."""
