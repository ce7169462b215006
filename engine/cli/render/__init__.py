"""The display of results: console, tables, trees and explanations."""
