"""The network: array code over one array module; never imports rclpy or cv2."""
