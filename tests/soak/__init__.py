"""Hours of mixed traffic against a gateway whose providers fail: does it stay as small as it began?"""
